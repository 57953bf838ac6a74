import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The result of a handshake by NSS's `tstclnt`. */
export interface NssOutcome {
  /** Whether the handshake was completed. */
  readonly connected: boolean;
  readonly receivedCredential: boolean;
  /** NSS's name for what went wrong, such as `SSL_ERROR_DC_EXPIRED`. */
  readonly error: string | undefined;
  readonly output: string;
}

/** An NSS client with its own profile. */
export interface NssClient extends AsyncDisposable {
  connect(server: {
    /** Default: 127.0.0.1. */
    readonly host?: string;
    readonly port: number;
    readonly name: string;
    readonly credentials?: boolean;
  }): Promise<NssOutcome>;
}

/** A client that trusts one CA. */
export async function createNssClient(caPem: string): Promise<NssClient> {
  const profile = await mkdtemp(join(tmpdir(), 'dcred-nss-'));
  const caFile = join(profile, 'ca.crt');
  await writeFile(caFile, caPem);
  await run('certutil', ['-N', '-d', `sql:${profile}`, '--empty-password']);
  await run('certutil', ['-A', '-d', `sql:${profile}`, '-n', 'ca', '-t', 'C,,', '-i', caFile]);
  return {
    connect: ({ credentials = true, host = '127.0.0.1', name, port }) =>
      // -Q: end after the handshake. -O: verify the certificate synchronously; without it tstclnt can hang.
      handshake([
        '-h',
        host,
        '-p',
        String(port),
        '-a',
        name,
        '-4',
        '-d',
        `sql:${profile}`,
        '-V',
        'tls1.3:tls1.3',
        '-Q',
        '-O',
        ...(credentials ? ['-B'] : []),
      ]),
    [Symbol.asyncDispose]: () => rm(profile, { recursive: true, force: true }),
  };
}

async function handshake(words: readonly string[]): Promise<NssOutcome> {
  const { connected, output } = await new Promise<{ connected: boolean; output: string }>((resolve, reject) => {
    const child = execFile('tstclnt', words, { timeout: 120_000 }, (error, stdout, stderr) => {
      if (error?.killed === true) return reject(new Error('tstclnt hung', { cause: error }));
      resolve({ connected: error === null, output: stdout + stderr });
    });
    child.stdin?.end();
  });
  return {
    connected,
    receivedCredential: output.includes('Received a Delegated Credential'),
    error: /\b(SSL|SEC|PR|MOZILLA_PKIX)_ERROR_[A-Z_]+/.exec(output)?.[0],
    output,
  };
}
