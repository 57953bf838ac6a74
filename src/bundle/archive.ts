/** What a support archive holds, from what was collected. Pure. */
import { gzipSync } from 'node:zlib';
import type { Finding } from '../check/finding.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import type { ReportedEvent } from '../status/events.ts';
import type { ResourceOverview } from '../status/overview.ts';
import { printableJson } from '../text/printable.ts';
import {
  allowedDeployment,
  allowedLogLine,
  allowedPod,
  allowedResource,
  allowedWebhookConfiguration,
} from './allowed.ts';
import { scrubAll } from './scrub.ts';
import { tar } from './tar.ts';

/** As the API server gave it; what could not be had is an empty list, and among `failures`. */
export interface Collected {
  /** Of dcred, of Kubernetes, of Node. */
  readonly versions: Readonly<Record<string, string>>;
  /** RFC 3339. */
  readonly createdAt: string;
  readonly findings: readonly Finding[];
  readonly resources: readonly KubernetesObject[];
  readonly overviews: readonly ResourceOverview[];
  readonly events: readonly ReportedEvent[];
  readonly deployments: readonly KubernetesObject[];
  readonly pods: readonly KubernetesObject[];
  readonly webhookConfigurations: readonly KubernetesObject[];
  /** By pod and container: `dcred-7d9f-x2x4z-operator`. */
  readonly logs: Readonly<Record<string, string>>;
  /** What could not be read, and why. */
  readonly failures: readonly string[];
  /** Nothing could be read. */
  readonly isEmpty: boolean;
}

export interface BundleFile {
  readonly path: string;
  readonly text: string;
}

export function bundleFiles(collected: Collected): readonly BundleFile[] {
  const { createdAt, deployments, events, failures, findings, logs, overviews, pods, resources, versions } = collected;
  return [
    { path: 'README.txt', text: README },
    json('about.json', { createdAt, versions, failures }),
    json('check.json', findings),
    json('resources.json', resources.map(allowedResource)),
    json('credentials.json', overviews.map(credentials)),
    json('events.json', events),
    json('deployments.json', deployments.map(allowedDeployment)),
    json('pods.json', pods.map(allowedPod)),
    json('webhook.json', collected.webhookConfigurations.map(allowedWebhookConfiguration)),
    ...Object.entries(logs).map(([, text], position) => log(`logs/${position}.log`, text)),
    json('logs/index.json', Object.fromEntries(Object.keys(logs).map((name, position) => [`${position}.log`, name]))),
  ];
}

/** tar.gz, in a folder of its own. */
export function archive(folder: string, files: readonly BundleFile[]): Buffer {
  const entries = files.map(({ path, text }) => ({
    type: 'file' as const,
    path: `${folder}/${path}`,
    content: Buffer.from(text),
  }));
  return gzipSync(tar(entries));
}

const README = `What "dcred bundle" collected, for support. Read it before you send it on.

about.json        versions, and what could not be collected
check.json        what dcred check found
resources.json    DelegatedCredentials: spec without secretTemplate, and status
credentials.json  their pods, and the times of each credential, from the metadata of Secrets
events.json       Events that dcred wrote
deployments.json  dcred's Deployments: names of environment variables, without their values
pods.json         dcred's pods
webhook.json      the webhook's configuration, without its certificates
logs/             the last lines that dcred's pods logged

No data of any Secret was read for this. Of labels and annotations there are the names, without their values. Long words that might be a
key or a token, in whatever field, are replaced by their length: "(44 characters)"; so are fingerprints.
`;

function json(path: string, value: unknown): BundleFile {
  return { path, text: `${printableJson(JSON.stringify(scrubAll(value), undefined, 2))}\n` };
}

/** Lines that are no JSON stand together, as in a crash, and are scrubbed together: a key may stand over several lines. */
function log(path: string, text: string): BundleFile {
  const groups: unknown[] = [];
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const shown = allowedLogLine(line);
    const last = groups.at(-1);
    if (typeof shown === 'string' && typeof last === 'string') groups[groups.length - 1] = `${last}\n${shown}`;
    else groups.push(shown);
  }
  return { path, text: groups.map((group) => `${printableJson(JSON.stringify(scrubAll(group)))}\n`).join('') };
}

function credentials({ name, namespace, pods, ready, reason }: ResourceOverview) {
  return { namespace, name, ready, reason, pods };
}
