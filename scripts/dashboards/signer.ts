import { type Dashboard, RED_IF_ANY } from './dashboard.ts';

export const SIGNER: Dashboard = {
  file: 'signer.json',
  uid: 'dcred-signer',
  title: 'dcred / Signer',
  description: 'What the signer signs and refuses.',
  variables: [],
  panels: [
    {
      title: 'Unusable certificates',
      description: 'Certificates that the signer could not load. Its log says why.',
      type: 'stat',
      width: 6,
      queries: [['count(min by (certificate) (dcred_signer_certificate_usable) == 0) or vector(0)', 'certificates']],
      thresholds: RED_IF_ANY,
    },
    {
      title: 'Unreadable grants',
      description: 'Namespaces whose grants the API server refuses to show, or the labels that grants select by.',
      type: 'stat',
      width: 6,
      queries: [['count(min by (resource, namespace) (dcred_signer_grants_readable) == 0) or vector(0)', 'refused']],
      thresholds: RED_IF_ANY,
    },
    {
      title: 'Audit log: last entry',
      description: 'Compare with "dcred signer verify-log": a log whose last entry has a lower number was truncated.',
      type: 'stat',
      width: 6,
      queries: [['max by (pod) (dcred_signer_audit_sequence)', '{{pod}}']],
    },
    {
      title: 'Refused in the last hour',
      description: 'NotPermitted: a client requests what no grant covers.',
      type: 'stat',
      width: 6,
      queries: [['sum by (result) (increase(dcred_signer_requests_total{result!="signed"}[1h])) > 0', '{{result}}']],
      thresholds: RED_IF_ANY,
    },
    {
      title: 'Signatures, by result',
      description: 'Each signature and each refusal is a line of the audit log.',
      type: 'timeseries',
      width: 12,
      unit: 'ops',
      queries: [['sum by (result) (rate(dcred_signer_requests_total[$__rate_interval]))', '{{result}}']],
    },
    {
      title: 'Time to answer',
      description: 'A request may ask for many signatures.',
      type: 'timeseries',
      width: 12,
      unit: 's',
      queries: [
        [
          'histogram_quantile(0.5, sum by (le) (rate(dcred_signer_http_request_duration_seconds_bucket[$__rate_interval])))',
          'p50',
        ],
        [
          'histogram_quantile(0.99, sum by (le) (rate(dcred_signer_http_request_duration_seconds_bucket[$__rate_interval])))',
          'p99',
        ],
      ],
    },
    {
      title: 'HTTP requests, by code',
      description: '401: a token or certificate is not accepted. 429: a client exceeds its rate.',
      type: 'timeseries',
      width: 12,
      unit: 'reqps',
      queries: [['sum by (code) (rate(dcred_signer_http_requests_total[$__rate_interval]))', '{{code}}']],
    },
    {
      title: 'Calls by the operators, by code',
      description: 'As the operators see it. "<error>": no answer, and nothing is issued meanwhile.',
      type: 'timeseries',
      width: 12,
      unit: 'reqps',
      queries: [['sum by (code) (rate(dcred_signer_client_requests_total[$__rate_interval]))', '{{code}}']],
    },
  ],
};
