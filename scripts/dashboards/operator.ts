import { type Dashboard, RED_IF_ANY } from './dashboard.ts';

export const OPERATOR: Dashboard = {
  file: 'operator.json',
  uid: 'dcred-operator',
  title: 'dcred / Operator and webhook',
  description: 'What the operator and the webhook do, how fast, and what the API server makes of it.',
  variables: [],
  panels: [
    {
      title: 'Leaders',
      description: 'One. None for minutes: nothing is issued.',
      type: 'stat',
      width: 4,
      queries: [['sum(leader_election_master_status{name=~"dcred-operator.*"})', 'leaders']],
    },
    {
      title: 'Clock skew',
      description: 'The largest difference between an operator and the API server.',
      type: 'stat',
      width: 4,
      unit: 's',
      queries: [['max(abs(dcred_clock_skew_seconds))', 'skew']],
      thresholds: [
        [null, 'green'],
        [30, 'red'],
      ],
    },
    {
      title: 'Unreadable',
      description: 'Kinds of objects that the API server refuses to show.',
      type: 'stat',
      width: 4,
      queries: [['count(max by (resource, namespace) (dcred_namespace_unreadable) == 1) or vector(0)', 'refused']],
      thresholds: RED_IF_ANY,
    },
    {
      title: 'Serving certificate expires in',
      description: 'Of the webhook: thirty days, replaced ten days before.',
      type: 'stat',
      width: 4,
      unit: 's',
      queries: [['min(dcred_webhook_certificate_not_after_timestamp_seconds) - time()', 'certificate']],
      thresholds: [
        [null, 'red'],
        [432_000, 'green'],
      ],
    },
    {
      title: 'Versions',
      description: 'More than one during an upgrade only.',
      type: 'table',
      width: 8,
      queries: [['count by (version) (dcred_build_info)', '']],
    },
    {
      title: 'Credentials issued, by reason',
      description: 'Missing: new pods. RenewalDue: renewals. CertificateChanged: a wave after a new leaf.',
      type: 'timeseries',
      width: 12,
      unit: 'ops',
      queries: [['sum by (reason) (rate(dcred_credentials_issued_total[$__rate_interval]))', '{{reason}}']],
    },
    {
      title: 'Time to issue',
      description: 'From making the key to the written Secret.',
      type: 'timeseries',
      width: 12,
      unit: 's',
      queries: [
        ['histogram_quantile(0.5, sum by (le) (rate(dcred_issue_duration_seconds_bucket[$__rate_interval])))', 'p50'],
        ['histogram_quantile(0.99, sum by (le) (rate(dcred_issue_duration_seconds_bucket[$__rate_interval])))', 'p99'],
      ],
    },
    {
      title: 'Failures and warnings about pods',
      description: 'By the reason of the Event.',
      type: 'timeseries',
      width: 12,
      unit: 'ops',
      queries: [
        ['sum by (reason) (rate(dcred_pod_failures_total[$__rate_interval])) > 0', '{{reason}}'],
        ['sum by (reason) (rate(dcred_pod_warnings_total[$__rate_interval])) > 0', '{{reason}} (warning)'],
      ],
    },
    {
      title: 'Queues',
      description:
        'Keys that wait for a worker. A depth that does not fall: too few workers, or an API server that is slow.',
      type: 'timeseries',
      width: 12,
      queries: [['max by (name) (workqueue_depth and on (instance, job) dcred_build_info)', '{{name}}']],
    },
    {
      title: 'Requests to the API server, by code',
      description: '429: the API server throttles. 403: a role is missing.',
      type: 'timeseries',
      width: 12,
      unit: 'reqps',
      queries: [
        [
          'sum by (code) (rate(rest_client_requests_total[$__rate_interval]) and on (instance, job) dcred_build_info)',
          '{{code}}',
        ],
      ],
    },
    {
      title: 'Failed watches',
      description: 'A watch that breaks is started again; many failures mean an API server in trouble.',
      type: 'timeseries',
      width: 12,
      unit: 'ops',
      queries: [
        ['sum by (resource) (rate(dcred_watch_events_total{event="failure"}[$__rate_interval]))', '{{resource}}'],
      ],
    },
    {
      title: 'Admission',
      description: 'Answers of the webhook, by outcome.',
      type: 'timeseries',
      width: 12,
      unit: 'reqps',
      queries: [['sum by (outcome) (rate(dcred_admission_duration_seconds_count[$__rate_interval]))', '{{outcome}}']],
    },
    {
      title: 'Memory and event loop',
      description: 'Near the limit of the container, raise it; a slow event loop means too little CPU.',
      type: 'timeseries',
      width: 12,
      unit: 'bytes',
      queries: [['process_resident_memory_bytes and on (instance, job) dcred_build_info', '{{pod}}']],
    },
  ],
};
