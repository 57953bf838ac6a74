/**
 * Credential plug-ins of a kubeconfig (client.authentication.k8s.io): a command that prints a token or a client certificate. Run here
 * and not by client-node, which waits for a plug-in for ever and reads whatever it prints.
 */

import { execFile } from 'node:child_process';
import { printable } from '../../text/printable.ts';
import { ConnectionError } from './connection-error.ts';
import type { ExecCluster } from './exec-cluster.ts';

/** `user.exec` of a kubeconfig. */
export interface ExecPlugin {
  readonly command: string;
  readonly args?: readonly string[] | null;
  readonly env?: readonly { readonly name: string; readonly value: string }[] | null;
  readonly apiVersion?: string | null;
  readonly provideClusterInfo?: boolean | null;
}

/** `status` of an ExecCredential. */
export interface ExecCredential {
  readonly token?: string;
  readonly clientCertificateData?: string;
  readonly clientKeyData?: string;
  /** Milliseconds since the epoch; undefined: until the server refuses it. */
  readonly expiresAt: number | undefined;
}

/** Characters of what it says on stderr that a message quotes. */
const MAX_STDERR = 300;
/** Linux passes no variable of 128 KiB or more to a process. */
const MAX_INFO_BYTES = 120 * 1024;
/** A token and a certificate chain are a few kilobytes. */
const MAX_OUTPUT_BYTES = 1024 * 1024;

/**
 * Runs the plug-in and returns what it printed. The signal kills it, together with what it still had to print.
 * @param cluster for a plug-in that wants to know it
 * @throws ConnectionError when it cannot be run, fails, or prints no ExecCredential; the signal's reason
 */
export async function runExecPlugin(
  plugin: ExecPlugin,
  signal: AbortSignal,
  cluster?: ExecCluster,
): Promise<ExecCredential> {
  const { status } = parse(plugin.command, await run(plugin, infoFor(plugin, cluster), signal));
  const { clientCertificateData, clientKeyData, expirationTimestamp, token } = status;
  const expiresAt = typeof expirationTimestamp === 'string' ? Date.parse(expirationTimestamp) : Number.NaN;
  return {
    ...(typeof token === 'string' && { token }),
    ...(typeof clientCertificateData === 'string' && { clientCertificateData }),
    ...(typeof clientKeyData === 'string' && { clientKeyData }),
    expiresAt: Number.isNaN(expiresAt) ? undefined : expiresAt,
  };
}

/** The ExecCredential that it gets, in KUBERNETES_EXEC_INFO. */
function infoFor({ apiVersion, command }: ExecPlugin, cluster: ExecCluster | undefined): string {
  const spec = { ...(cluster !== undefined && { cluster }), interactive: false };
  const info = JSON.stringify({ apiVersion, kind: 'ExecCredential', spec });
  const bytes = Buffer.byteLength(info);
  if (bytes <= MAX_INFO_BYTES) return info;
  throw new ConnectionError(
    `credential plug-in ${command} wants provideClusterInfo: expected at most ${MAX_INFO_BYTES} bytes about the cluster, found ${bytes}; ` +
      'leave CAs that this cluster does not need out of its certificate-authority',
  );
}

function run({ command, args, env }: ExecPlugin, info: string, signal: AbortSignal): Promise<string> {
  const variables = Object.fromEntries((env ?? []).map(({ name, value }) => [name, value]));
  const options = {
    env: { ...process.env, KUBERNETES_EXEC_INFO: info, ...variables },
    maxBuffer: MAX_OUTPUT_BYTES,
    killSignal: 'SIGKILL',
    signal,
  } as const;
  return new Promise((resolve, reject) => {
    const child = execFile(command, args ?? [], options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else if (signal.aborted) reject(signal.reason);
      else reject(failed(command, error, stderr));
    });
    child.stdin?.end();
  });
}

/** What it prints on stdout may be a token and goes no further; what it says on stderr is for people. */
function failed(
  command: string,
  error: Error & { readonly code?: string | number | null | undefined },
  stderr: string,
): ConnectionError {
  if (error.code === 'ENOENT') {
    return new ConnectionError(`credential plug-in ${command} was not found: install it, or put it on the PATH`);
  }
  const said = printable(stderr.trim(), MAX_STDERR);
  const why = said === '' ? `it failed with ${String(error.code ?? 'no exit status')}` : said;
  return new ConnectionError(`credential plug-in ${command}: expected an ExecCredential on stdout; ${why}`);
}

function parse(command: string, text: string): { readonly status: Readonly<Record<string, unknown>> } {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && 'status' in value) {
      const { status } = value;
      if (typeof status === 'object' && status !== null) return { status: { ...status } };
    }
  } catch {
    // The parser quotes the text around what it does not like, which may be a token.
  }
  throw new ConnectionError(`credential plug-in ${command}: expected an ExecCredential with a status on stdout`);
}
