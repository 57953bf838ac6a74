import { type Dashboard, RED_IF_ANY } from './dashboard.ts';

/** Two days and six hours of life, in seconds. */
const LIFE = [
  [null, 'red'],
  [21_600, 'orange'],
  [172_800, 'green'],
] as const;
const SELECTED = 'namespace=~"$namespace",name=~"$name"';

export const FLEET: Dashboard = {
  file: 'fleet.json',
  uid: 'dcred-fleet',
  title: 'dcred / Fleet',
  description: 'Which pods hold which credentials, for how long, and what is wrong.',
  variables: [
    ['namespace', 'dcred_ready'],
    ['name', 'dcred_ready'],
  ],
  panels: [
    {
      title: 'Not Ready',
      description: 'DelegatedCredentials that are not Ready. "dcred status -A" gives the reasons.',
      type: 'stat',
      width: 4,
      queries: [[`count(max by (namespace, name) (dcred_ready{${SELECTED}}) == 0) or vector(0)`, 'not Ready']],
      thresholds: RED_IF_ANY,
    },
    {
      title: 'Pods served',
      description: 'Pods that hold a credential of the current certificate.',
      type: 'stat',
      width: 4,
      queries: [[`sum(max by (namespace, name) (dcred_pods{state="issued",${SELECTED}}))`, 'pods']],
    },
    {
      title: 'Pods failed',
      description: 'Pods that cannot be served. Each has an Event that says why.',
      type: 'stat',
      width: 4,
      queries: [[`sum(max by (namespace, name) (dcred_pods{state="failed",${SELECTED}}))`, 'pods']],
      thresholds: RED_IF_ANY,
    },
    {
      title: 'Pods not injected',
      description:
        'Pods that do not mount their credential: the webhook was unavailable when they were created. Re-create them.',
      type: 'stat',
      width: 4,
      queries: [[`sum(max by (namespace, name) (dcred_pods{state="not_injected",${SELECTED}}))`, 'pods']],
      thresholds: RED_IF_ANY,
    },
    {
      title: 'First credential expires in',
      description: 'Of all pods. It should never fall below half of the time set aside for renewal.',
      type: 'stat',
      width: 4,
      unit: 's',
      queries: [[`min(dcred_earliest_expiry_timestamp_seconds{${SELECTED}}) - time()`, 'credential']],
      thresholds: LIFE,
    },
    {
      title: 'First certificate expires in',
      description: 'No credential outlives its certificate.',
      type: 'stat',
      width: 4,
      unit: 's',
      queries: [[`min(dcred_certificate_not_after_timestamp_seconds{${SELECTED}}) - time()`, 'certificate']],
      thresholds: LIFE,
    },
    {
      title: 'Life of the oldest credential',
      description:
        'Falls, and jumps up with each renewal. A line that reaches zero is an outage for clients with support.',
      type: 'timeseries',
      width: 12,
      unit: 's',
      queries: [
        [
          `min by (namespace, name) (dcred_earliest_expiry_timestamp_seconds{${SELECTED}}) - time()`,
          '{{namespace}}/{{name}}',
        ],
      ],
    },
    {
      title: 'Next renewal in',
      description: 'Below zero: a renewal is late.',
      type: 'timeseries',
      width: 12,
      unit: 's',
      queries: [
        [
          `min by (namespace, name) (dcred_next_renewal_timestamp_seconds{${SELECTED}}) - time()`,
          '{{namespace}}/{{name}}',
        ],
      ],
    },
    {
      title: 'Pods by state',
      description: 'Selected and issued should be the same line.',
      type: 'timeseries',
      width: 12,
      queries: [[`sum by (state) (max by (namespace, name, state) (dcred_pods{${SELECTED}}))`, '{{state}}']],
    },
    {
      title: 'Resources',
      description: '1: Ready.',
      type: 'table',
      width: 12,
      queries: [[`max by (namespace, name) (dcred_ready{${SELECTED}})`, '']],
    },
    {
      title: 'Agents: reloads',
      description:
        'Attempts to reload a server after a new credential. Failures: see the log of the container dcred-agent.',
      type: 'timeseries',
      width: 12,
      queries: [
        [
          'sum by (outcome) (rate(dcred_agent_reloads_total{namespace=~"$namespace"}[$__rate_interval]))',
          '{{outcome}}',
        ],
      ],
    },
    {
      title: 'Servers with an old credential',
      description: 'Pods whose server has not loaded the credential that is mounted.',
      type: 'timeseries',
      width: 12,
      queries: [
        [
          'count by (namespace) (min by (namespace, pod) (dcred_agent_served_expiry_timestamp_seconds{namespace=~"$namespace"}) < ' +
            'min by (namespace, pod) (dcred_agent_credential_expiry_timestamp_seconds{namespace=~"$namespace"}))',
          '{{namespace}}',
        ],
      ],
    },
  ],
};
