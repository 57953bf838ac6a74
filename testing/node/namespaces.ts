import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { Component, Guardian } from '../support/guardian.ts';
import { eventually, type Output, type RunOptions, run } from '../support/processes.ts';

/**
 * A node lives in its own network, mount and process namespaces. Its first process, here, only holds them. When that process
 * ends, the kernel kills every other one in there (the shims and the containers too, which no list here has), and with the last
 * of them go the mounts, the bridge, the nftables rules and the veth pairs. So only the control groups and one folder need
 * cleaning up, which the guardian does; and two nodes never meet.
 *
 * Hidden behind the node's own: /run, /var/log and /var/lib, where kubelet, containerd and the network plug-ins keep their
 * state. Some of the machine's settings are shown to the kubelet with the values that it wants, or it would change them for
 * the whole machine.
 */
const HOLD = `
set -e
# Still the machine's /proc: the id by which the guardian knows this process.
read -r pid _ </proc/self/stat
: >"$1/pids/$pid"
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/lock
mount --bind "$1/log" /var/log
mount --bind "$1/lib" /var/lib
mount --bind "$1/hosts" /etc/hosts
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1; do
  file="$1/settings/\${setting##*/}"
  echo "\${setting#*=}" >"$file"
  mount --bind "$file" "/proc/sys/\${setting%=*}"
done
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  mkdir -p "/sys/fs/cgroup/$2" "/sys/fs/cgroup/$2-system"
  echo 800 >"/sys/fs/cgroup/$2/cpu.weight" || true
  echo 10 >"/sys/fs/cgroup/$2-system/cpu.weight" || true
else
  for tree in /sys/fs/cgroup/*/cgroup.procs; do mkdir -p "\${tree%/cgroup.procs}/$2"; done
  mkdir "/sys/fs/cgroup/cpu/$2-system"
  echo 8192 >"/sys/fs/cgroup/cpu/$2/cpu.shares"
  echo 102 >"/sys/fs/cgroup/cpu/$2-system/cpu.shares"
fi
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "$pid" >"$1/holder.new"
mv "$1/holder.new" "$1/holder"
# While it waits, it reaps processes whose parents are gone.
sleep infinity &
wait
`;

/**
 * The processors are shared with the control plane, which in a cluster has its own machines. So that starting containers does not keep
 * the API server waiting, the node's programs (kubelet, containerd, runc) weigh a tenth of one thread of the control plane. The pods
 * weigh eight threads, eighty times as much as the programs, as on a large machine. The kubelet sets each pod's own share.
 */
const JOIN = `
group="/sys/fs/cgroup/cpu/$1-system"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then group="/sys/fs/cgroup/$1-system"; fi
echo "$$" >"$group/cgroup.procs"
shift
exec nsenter "$@"
`;

const START_TIMEOUT_MS = 300_000;

/** The namespaces of one node, and the way into them. */
export class Namespaces {
  /** Id of the process that holds them. */
  readonly pid: number;
  /** The parent of the node's control groups, in every hierarchy. */
  readonly cgroup: string;
  readonly #guardian: Guardian;
  readonly #path: string;

  static async create(guardian: Guardian, searchPath: string): Promise<Namespaces> {
    const { directory } = guardian;
    for (const folder of ['log', 'lib', 'settings']) await mkdir(join(directory, folder));
    await writeFile(join(directory, 'hosts'), '127.0.0.1 localhost\n');
    for (const name of ['overcommit_memory', 'panic_on_oom', 'panic', 'panic_on_oops']) {
      await writeFile(join(directory, 'settings', name), '');
    }
    const cgroup = basename(directory);
    const holder = guardian.startComponent({
      name: 'holder',
      binary: 'unshare',
      args: ['--mount', '--net', '--pid', '--fork', '--kill-child', 'sh', '-c', HOLD, 'node', directory, cgroup],
    });
    const pid = await eventually(
      'the namespaces of the node',
      async () => {
        if (holder.hasExited) throw new Error(`the namespaces of the node: ${await holder.logTail()}`);
        const text = await readFile(join(directory, 'holder'), 'utf8').catch(() => undefined);
        return text === undefined ? undefined : Number(text);
      },
      { timeoutMs: START_TIMEOUT_MS, intervalMs: 10 },
    );
    return new Namespaces(guardian, pid, cgroup, searchPath);
  }

  private constructor(guardian: Guardian, pid: number, cgroup: string, searchPath: string) {
    this.#guardian = guardian;
    this.pid = pid;
    this.cgroup = cgroup;
    this.#path = searchPath;
  }

  /** Without it, the kubelet queries a name server that the node cannot reach for its own address, twice for ten seconds. */
  async nameHost(name: string, address: string): Promise<void> {
    await appendFile(join(this.#guardian.directory, 'hosts'), `${address} ${name}\n`);
  }

  /** Starts a process of the node. Its output goes to `<folder>/<name>.log`. */
  startComponent(name: string, command: readonly string[]): Component {
    const args = ['-c', JOIN, 'node', this.cgroup, ...this.#inside(command)];
    return this.#guardian.startComponent({ name, binary: 'sh', args });
  }

  /** Runs a command as if on the node, and waits for it to end. */
  run(command: readonly string[], options: RunOptions = {}): Promise<Output> {
    return run('nsenter', this.#inside(command), options);
  }

  #inside(command: readonly string[]): readonly string[] {
    const enter = [`--target=${this.pid}`, '--mount', '--net', '--pid'];
    return [...enter, '--', 'env', '-i', `PATH=${this.#path}`, ...command];
  }
}
