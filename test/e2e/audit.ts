import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * What the API server itself notes of the requests that it answered, to the microsecond: the one clock that a test and the programs
 * it judges cannot bend.
 */

export interface AuditedRequest {
  readonly verb: string;
  readonly stageTimestamp: string;
  readonly requestReceivedTimestamp: string;
  readonly objectRef: {
    readonly resource: string;
    readonly subresource?: string;
    readonly namespace?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code: number };
  /** The object as it was stored, for pods. */
  readonly responseObject?: {
    readonly metadata?: { readonly name?: string; readonly annotations?: Readonly<Record<string, string>> };
  };
}

/** Seconds since the epoch. */
export function answeredAt({ stageTimestamp }: AuditedRequest): number {
  return readMicroTime(stageTimestamp);
}

/** Date.parse knows milliseconds only. */
function readMicroTime(text: string): number {
  const match = /^(.*T\d{2}:\d{2}:\d{2})(\.\d+)?Z$/.exec(text);
  if (match === null) throw new Error(`expected a time such as 2026-11-24T12:00:00.123456Z, found ${text}`);
  const [, seconds, fraction = ''] = match;
  return Date.parse(`${seconds}Z`) / 1_000 + Number(`0${fraction}`);
}

export class AuditLog {
  /** For the API server's command line. */
  readonly args: readonly string[];
  readonly #path: string;

  private constructor(directory: string) {
    this.#path = join(directory, 'audit.log');
    this.args = [`--audit-policy-file=${join(directory, 'audit-policy.json')}`, `--audit-log-path=${this.#path}`];
  }

  /** Notes creations, and nothing that is secret: of a Secret, that there was one. */
  static async create(directory: string, namespace: string): Promise<AuditLog> {
    const inNamespace = { namespaces: [namespace], verbs: ['create'] };
    const policy = {
      apiVersion: 'audit.k8s.io/v1',
      kind: 'Policy',
      omitStages: ['RequestReceived', 'ResponseStarted'],
      rules: [
        { level: 'Metadata', ...inNamespace, resources: [{ group: '', resources: ['secrets', 'pods/binding'] }] },
        // Of a pod the name is made by the API server, and stands in the answer.
        { level: 'RequestResponse', ...inNamespace, resources: [{ group: '', resources: ['pods'] }] },
        { level: 'None' },
      ],
    };
    await writeFile(join(directory, 'audit-policy.json'), JSON.stringify(policy));
    return new AuditLog(directory);
  }

  /** The creations so far, in the order in which they were answered. */
  async read(): Promise<readonly AuditedRequest[]> {
    const text = await readFile(this.#path, 'utf8');
    // What follows the last end of a line is being written.
    const lines = text.split('\n').slice(0, -1);
    return lines
      .map((line) => JSON.parse(line) as AuditedRequest)
      .filter(({ responseStatus }) => responseStatus?.code === 201)
      .sort((a, b) => answeredAt(a) - answeredAt(b));
  }
}
