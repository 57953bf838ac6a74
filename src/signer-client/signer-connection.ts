/** How a client reaches the signer: its address, the CA that it trusts, and a token or a certificate of its own, all in files. */
import { checkAuthorities } from '../credential/authorities.ts';
import { CertificateError } from '../credential/errors.ts';
import type { Clock } from '../kubernetes/clock.ts';
import { assertHeader, assertPair } from '../kubernetes/connection/assertions.ts';
import type { Connection } from '../kubernetes/connection/connection.ts';
import { ConnectionError } from '../kubernetes/connection/connection-error.ts';
import { readConnectionFile } from '../kubernetes/connection/connection-files.ts';
import { CredentialCache } from '../kubernetes/connection/credential-cache.ts';

export interface SignerConnectionOptions {
  /** `https://HOST:PORT`. */
  readonly url: string;
  /** Undefined: Node's own list of public CAs; the system's store is not read. */
  readonly caFile?: string | undefined;
  /** A service account's token with the audience `dcred-signer`. */
  readonly tokenFile?: string | undefined;
  /** A client certificate and its key. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly clock: Clock;
}

/**
 * The files are read again every few seconds while the connection is used, and at once when the signer answers 401: kubelet replaces
 * a projected token at four fifths of its hour.
 * @throws ConnectionError for a URL that is not https, and for files that cannot be read, or are not what they are named for
 */
export async function signerConnection(options: SignerConnectionOptions): Promise<Connection> {
  const { caFile, certFile, clock, keyFile, tokenFile } = options;
  const server = readUrl(options.url);
  if (tokenFile === undefined && certFile === undefined) {
    throw new ConnectionError('expected a token or a client certificate for the signer, found neither');
  }
  // A system's whole bundle takes some 20 ms, and the file seldom changes.
  let checkedCa: string | undefined;
  const cache = new CredentialCache(async () => {
    const [ca, token, cert, key] = await Promise.all([caFile, tokenFile, certFile, keyFile].map(readOptional));
    const authorization = token === undefined ? undefined : `Bearer ${token.trim()}`;
    if (ca !== undefined && ca !== checkedCa) assertAuthorities(ca, caFile ?? '');
    checkedCa = ca;
    if (authorization !== undefined) assertHeader(authorization, tokenFile ?? '');
    if (cert !== undefined && key !== undefined) {
      assertPair(cert, key, `a client certificate in ${certFile} and its key in ${keyFile}`);
    }
    return {
      headers: authorization === undefined ? {} : { authorization },
      tls: { ...(ca === undefined ? {} : { ca }), ...(cert === undefined || key === undefined ? {} : { cert, key }) },
    };
  }, clock);
  await cache.get();
  return { server, defaultNamespace: 'default', credentials: (rejected) => cache.get(rejected) };
}

/** As strictly as the signer reads its own files: Node skips what it cannot read, and a new CA that it skips is missed at the next rotation. */
function assertAuthorities(ca: string, caFile: string): void {
  try {
    checkAuthorities(ca);
  } catch (error) {
    if (!(error instanceof CertificateError)) throw error;
    const message = `expected the certificates of authorities, in PEM, in ${caFile}: ${error.message}`;
    throw new ConnectionError(message, { cause: error });
  }
}

function readUrl(text: string): string {
  const url = URL.parse(text);
  if (url?.protocol === 'https:' && url.username === '' && url.search === '' && url.hash === '') {
    return url.href.replace(/\/$/, '');
  }
  throw new ConnectionError(`expected the signer's address as https://HOST:PORT, found ${JSON.stringify(text)}`);
}

async function readOptional(path: string | undefined): Promise<string | undefined> {
  return path === undefined
    ? undefined
    : await readConnectionFile(path, 'cannot read a file for the connection to the signer');
}
