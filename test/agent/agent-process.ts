/** `dcred agent` as a pod runs it: a separate process. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { freePort } from '../../testing/support/ports.ts';
import { endChild, eventually } from '../../testing/support/processes.ts';

const MAIN = join(import.meta.dirname, '..', '..', 'src', 'main.ts');

type Entry = Readonly<Record<string, unknown>>;

export interface AgentProcess {
  readonly entries: readonly Entry[];
  readonly port: number;
  /** Resolves once this is logged. */
  logged(message: string): Promise<Entry>;
  get(path: '/metrics' | '/healthz' | '/readyz'): Promise<{ readonly status: number; readonly body: string }>;
  untilReady(): Promise<void>;
  /** SIGTERM; resolves with the exit status. */
  stop(): Promise<number | null>;
}

/** `uid`: to run as another user, which takes root. Ended after the test. */
export async function startAgent(
  t: TestContext,
  args: readonly string[],
  { uid }: { readonly uid?: number } = {},
): Promise<AgentProcess> {
  const port = await freePort();
  const child = spawn(process.execPath, [MAIN, 'agent', `--bind-address=127.0.0.1:${port}`, ...args], {
    stdio: ['ignore', 'inherit', 'pipe'],
    ...(uid === undefined ? {} : { uid, gid: uid }),
  });
  t.after(() => endChild(child));
  const lines: string[] = [];
  createInterface({ input: child.stderr }).on('line', (line) => lines.push(line));
  const entries = () => lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Entry);
  const get: AgentProcess['get'] = async (path) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, body: await response.text() };
  };
  return {
    get entries() {
      return entries();
    },
    port,
    get,
    logged: async (message) =>
      await eventually(`the agent to log "${message}"`, async () => entries().find(({ msg }) => msg === message)).catch(
        (error: unknown) => {
          throw new Error(`${String(error)}; it logged:\n${lines.join('\n')}`);
        },
      ),
    untilReady: async () => {
      await eventually('the agent to be ready', async () => {
        const answer = await get('/readyz').catch(() => undefined);
        return answer?.status === 200 ? true : undefined;
      });
    },
    stop: async () => {
      if (child.exitCode === null) {
        child.kill('SIGTERM');
        await once(child, 'exit');
      }
      return child.exitCode;
    },
  };
}
