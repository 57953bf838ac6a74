/**
 * Checks every version of every issued Secret, past any proxy: a pair that was mixed for a moment was mixed for any server that read it
 * then, whatever the final state.
 */
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import type { Access, ApiObject } from './admin.ts';
import { credentialViolations, isIssued } from './checker.ts';

interface Seen {
  versions: number;
  readonly problems: string[];
  /** Resource versions that were judged already. */
  readonly judged: Set<string>;
}

interface RawEvent {
  readonly type: string;
  readonly object: ApiObject;
}

export class Witness implements AsyncDisposable {
  readonly #seen = new Map<string, Seen>();
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor(access: Access) {
    this.#running = this.#run(access);
  }

  /** How many versions of issued Secrets a namespace has had, without deletions. */
  versions(namespace: string): number {
    return this.#of(namespace).versions;
  }

  problems(namespace: string): readonly string[] {
    return this.#of(namespace).problems;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  #of(namespace: string): Seen {
    const known = this.#seen.get(namespace);
    if (known !== undefined) return known;
    const fresh: Seen = { versions: 0, problems: [], judged: new Set() };
    this.#seen.set(namespace, fresh);
    return fresh;
  }

  /** Follows the watch, which sends what existed before as ADDED, and starts it again whenever it ends. */
  async #run(access: Access): Promise<void> {
    while (!this.#stop.signal.aborted) {
      try {
        await this.#follow(access);
      } catch {
        // The API server is being restarted, or the witness is stopping.
        if (!this.#stop.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }

  /**
   * One watch, to its end. Reads in a loop and not in listeners: what a dying API server sends need not be JSON, and an error thrown in a
   * listener would end the process instead of this watch.
   */
  async #follow(access: Access): Promise<void> {
    const response = await this.#open(access);
    if (response.statusCode !== 200) {
      response.destroy();
      throw new Error(`expected a watch, got status ${response.statusCode}`);
    }
    let rest = '';
    for await (const chunk of response.setEncoding('utf8')) {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) this.#judge(JSON.parse(line) as RawEvent);
    }
  }

  #open({ ca, certificate: cert, key, server }: Access): Promise<IncomingMessage> {
    const url = new URL('/api/v1/secrets?watch=true&labelSelector=app.kubernetes.io/managed-by=dcred', server);
    const { signal } = this.#stop;
    return new Promise((resolve, reject) => {
      const sent = request(url, { ca, ...(cert === undefined ? {} : { cert, key }), agent: false, signal }, resolve);
      // Stays: a connection that is cut later is an error of the request too.
      sent.on('error', reject);
      sent.end();
    });
  }

  #judge({ object, type }: RawEvent): void {
    if (type !== 'ADDED' && type !== 'MODIFIED') return;
    if (!isIssued(object)) return;
    const { annotations = {}, name, namespace = '', resourceVersion } = object.metadata;
    const seen = this.#of(namespace);
    if (seen.judged.has(resourceVersion)) return;
    seen.judged.add(resourceVersion);
    seen.versions += 1;
    const problems = problemsOf(object, annotations['dcred.dev/issued-at']);
    seen.problems.push(...problems.map((problem) => `${namespace}/${name}: ${problem}`));
  }
}

/** Judged as of its issue: whether it has expired since is for the check of the current state. */
function problemsOf(secret: ApiObject, issuedAt = ''): readonly string[] {
  try {
    const found = credentialViolations(secret, Date.parse(issuedAt) / 1000);
    return found.filter((problem) => !problem.startsWith('annotation '));
  } catch (error) {
    // Kept: the next watch does not show this version again.
    return [`cannot be judged: ${String(error)}`];
  }
}
