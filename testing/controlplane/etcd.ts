import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CommandFailedError, run, tryRun } from '../support/processes.ts';

/** etcd's own tools, against the one member of a control plane. Each method does what an administrator would type. */
export interface EtcdTools {
  readonly etcdctl: string;
  readonly etcdutl: string;
}

/** Beside Kubernetes' own keys, which begin with /registry/. */
const FILLER = 'filler/';
const FILLER_VALUE = 'x'.repeat(1024 * 1024);
const MEMBER = { name: 'test', peer: 'http://localhost:2380' } as const;

/** What `etcd` and `etcdutl snapshot restore` must agree on. */
export const MEMBER_ARGUMENTS: readonly string[] = [
  `--name=${MEMBER.name}`,
  // A single member never connects to its peers; the two only have to agree.
  `--initial-advertise-peer-urls=${MEMBER.peer}`,
  `--initial-cluster=${MEMBER.name}=${MEMBER.peer}`,
];

export class Etcd {
  readonly #tools: EtcdTools;
  readonly #directory: string;
  readonly #socket: string;

  constructor(tools: EtcdTools, directory: string, socket: string) {
    this.#tools = tools;
    this.#directory = directory;
    this.#socket = socket;
  }

  get dataDirectory(): string {
    return join(this.#directory, 'etcd');
  }

  async saveSnapshot(path: string): Promise<void> {
    await this.#etcdctl(['snapshot', 'save', path]);
  }

  /**
   * Replaces the data by a snapshot. etcd must not run. Without `bumpRevision` the store goes back in time, and its revisions are used a
   * second time; with it they jump ahead by that many and older ones count as compacted, as the Kubernetes documentation recommends.
   */
  async restoreSnapshot(path: string, bumpRevision?: number): Promise<void> {
    await rm(this.dataDirectory, { recursive: true, force: true });
    const bump = bumpRevision === undefined ? [] : [`--bump-revision=${bumpRevision}`, '--mark-compacted'];
    const args = ['snapshot', 'restore', path, `--data-dir=${this.dataDirectory}`, ...MEMBER_ARGUMENTS, ...bump];
    await run(this.#tools.etcdutl, args);
  }

  /** The revision of the last write. */
  async revision(): Promise<number> {
    const { stdout } = await this.#etcdctl(['endpoint', 'status', '--write-out=json']);
    const [member] = JSON.parse(stdout) as { Status: { header: { revision: number } } }[];
    if (member === undefined) throw new TypeError(`etcdctl endpoint status reports no member: ${stdout}`);
    return member.Status.header.revision;
  }

  /** Writes filler keys until the quota is reached: from then on etcd refuses every write (alarm NOSPACE). */
  async fill(): Promise<void> {
    for (let number = 0; ; number += 1) {
      const put = await tryRun(this.#tools.etcdctl, this.#words(['put', `${FILLER}${number}`]), {
        input: FILLER_VALUE,
      });
      if (put.status === 0) continue;
      if (put.stderr.includes('database space exceeded')) return;
      throw new CommandFailedError('etcdctl put', put);
    }
  }

  /** Removes the keys of `fill`, compacts, defragments and clears the alarm. Watches from before are compacted too. */
  async free(): Promise<void> {
    await this.#etcdctl(['del', '--prefix', FILLER]);
    await this.#etcdctl(['compaction', String(await this.revision()), '--physical']);
    await this.#etcdctl(['defrag']);
    await this.#etcdctl(['alarm', 'disarm']);
  }

  #etcdctl(args: readonly string[]): Promise<{ readonly stdout: string }> {
    return run(this.#tools.etcdctl, this.#words(args));
  }

  #words(args: readonly string[]): readonly string[] {
    return [`--endpoints=unix://${this.#socket}`, ...args];
  }
}
