import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

/** A running testing/peers/server.c. */
export interface BoringServer extends AsyncDisposable {
  readonly port: number;
  /** The next line that it prints: how a connection went, or the result of a reload. */
  nextLine(): Promise<string>;
  /** Makes it read its files again; resolves with `reloaded` or `kept REASON`. */
  reload(): Promise<string>;
}

export interface BoringServerOptions {
  readonly binary: string;
  /** The files of an issued Secret. */
  readonly directory: string;
  /** Only needed for clients without support for credentials. */
  readonly leafKeyFile?: string;
}

/** Starts the server; resolves when it listens. It ends on disposal, and when this process ends in any way. */
export async function startBoringServer({
  binary,
  directory,
  leafKeyFile,
}: BoringServerOptions): Promise<BoringServer> {
  const words = [directory, ...(leafKeyFile === undefined ? [] : ['--leaf-key', leafKeyFile])];
  const child = spawn(binary, words, { stdio: ['pipe', 'pipe', 'pipe'] });
  const errors: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => errors.push(text));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const nextLine = async () => {
    const { done, value } = await lines.next();
    if (done === true) throw new Error(`the BoringSSL server ended: ${errors.join('').trim()}`);
    return value;
  };
  const first = await nextLine();
  const port = Number(/^listening (\d+)$/.exec(first)?.[1]);
  if (!Number.isInteger(port)) throw new Error(`unexpected first line of the BoringSSL server: ${first}`);
  return {
    port,
    nextLine,
    reload: () => {
      child.kill('SIGHUP');
      return nextLine();
    },
    [Symbol.asyncDispose]: () => stop(child),
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.stdin?.end();
  await exited;
}
