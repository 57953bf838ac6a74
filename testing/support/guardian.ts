import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, rmSync } from 'node:fs';
import { mkdir, mkdtemp, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { endChild } from './processes.ts';

/**
 * Everything that a test starts must go when the test goes, even when it is killed with SIGKILL and can do nothing
 * itself. So a small shell, the guardian, holds the other end of a pipe from the test process, in its own session
 * (Ctrl-C does not reach it). When the pipe closes, for whatever reason, it ends the processes and removes the folder.
 * A normal stop closes the pipe too: there is one way out, and every test takes it.
 *
 *     test process --- pipe ---> guardian --- end of file: kill pids/*, rm -r folder
 *          `--- starts components; each writes pids/<its id> and only then becomes the component
 *
 * A node lives in control groups whose names begin as the folder's does: they go too, once they are empty.
 *
 * A component registers itself before `exec`, and the guardian renames `pids` before it reads it. So whenever the test
 * dies, a component is either in the list, or fails to register and ends: none is missed.
 */
const GUARDIAN = `
trap '' INT TERM HUP
while read -r _; do :; done
mv "$1/pids" "$1/ending"
for file in "$1/ending/"*; do
  if [ -e "$file" ]; then kill -KILL "\${file##*/}" 2>/dev/null; fi
done
tries=0
for path in "$1" /sys/fs/cgroup/"\${1##*/}"* /sys/fs/cgroup/*/"\${1##*/}"*; do
  while [ -e "$path" ] && [ "$tries" -lt 2400 ]; do
    case "$path" in
      /sys/*) find "$path" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05 ;;
      *) rm -rf "$path" 2>/dev/null || sleep 0.05 ;;
    esac
    tries=$((tries + 1))
  done
done
`;

const REGISTER = `: >"$1/pids/$$" || exit 125
shift
exec "$@"
`;

export interface ComponentOptions {
  /** Also the name of its log: `<folder>/<name>.log`. */
  readonly name: string;
  readonly binary: string;
  readonly args: readonly string[];
  /** Beside this process's own. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A folder, and processes that work in it; both go with the process that made them. */
export class Guardian {
  readonly directory: string;
  readonly #shell: ChildProcess;

  /** `kind` is part of the folder's name, to tell folders apart in a listing. */
  static async start(kind = 'controlplane'): Promise<Guardian> {
    const directory = await mkdtemp(join(tmpdir(), `dcred-${kind}-`));
    await mkdir(join(directory, 'pids'));
    return new Guardian(directory);
  }

  private constructor(directory: string) {
    this.directory = directory;
    this.#shell = spawn('sh', ['-c', GUARDIAN, 'dcred-test-guardian', directory], {
      stdio: ['pipe', 'ignore', 'ignore'],
      detached: true,
    });
    // A test that forgot to stop its control plane must still be able to exit.
    this.#shell.unref();
    (this.#shell.stdin as { unref?: () => void } | null)?.unref?.();
  }

  /** Starts a process that the guardian ends. Its output goes to its log. */
  startComponent({ name, binary, args, env = {} }: ComponentOptions): Component {
    const logPath = join(this.directory, `${name}.log`);
    const log = openSync(logPath, 'a');
    const child = spawn('sh', ['-c', REGISTER, name, this.directory, binary, ...args], {
      stdio: ['ignore', log, log],
      detached: true,
      cwd: this.directory,
      env: { ...process.env, ...env },
    });
    closeSync(log);
    child.unref();
    // A process id may be reused once its owner is gone: the guardian must forget it by then.
    child.once('exit', () => rmSync(join(this.directory, 'pids', String(child.pid)), { force: true }));
    return new Component(name, child, logPath);
  }

  /** Ends every process and removes the folder; resolves when that is done. May be called again. */
  async stop(): Promise<void> {
    if (this.#shell.exitCode !== null || this.#shell.signalCode !== null) return;
    const gone = once(this.#shell, 'exit');
    this.#shell.ref();
    this.#shell.stdin?.end();
    await gone;
  }
}

export class Component {
  readonly name: string;
  readonly logPath: string;
  readonly #child: ChildProcess;

  constructor(name: string, child: ChildProcess, logPath: string) {
    this.name = name;
    this.#child = child;
    this.logPath = logPath;
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await endChild(this.#child, { signal });
  }

  /** The last lines of its log, for an error message. */
  async logTail(lines = 25): Promise<string> {
    const log = await readFile(this.logPath, 'utf8').catch(() => '');
    return log.trimEnd().split('\n').slice(-lines).join('\n');
  }
}
