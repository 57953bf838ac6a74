/**
 * Where a key is kept, as a URI: the convention that sigstore made known. Pure. A key URI makes its reader sign, so it is taken from
 * a command line and from the configuration of the signer or the operator, and never from an object of the cluster.
 */
import { printable } from '../text/printable.ts';
import { KeyUriError, percentDecode } from './percent-decode.ts';
import type { Pkcs11KeyUri } from './pkcs11-uri.ts';
import { parsePkcs11Uri } from './pkcs11-uri.ts';

interface FileKeyUri {
  readonly scheme: 'file';
  readonly path: string;
}

export interface AwsKmsKeyUri {
  readonly scheme: 'awskms';
  /** `HOST[:PORT]` of another endpoint than AWS' own. */
  readonly endpoint: string | undefined;
  /** A key's id, `alias/NAME`, or the ARN of either. */
  readonly keyId: string;
  /** From an ARN. */
  readonly region: string | undefined;
}

export interface HashiVaultKeyUri {
  readonly scheme: 'hashivault';
  /** Of the key in the transit engine. */
  readonly keyName: string;
}

export type KeyUri = FileKeyUri | AwsKmsKeyUri | HashiVaultKeyUri | Pkcs11KeyUri;

/** Longer than any key's name, shorter than what slows anything down. */
const MAX_URI_LENGTH = 4_096;
const SCHEME = /^[A-Za-z][A-Za-z0-9+.-]{0,30}:/;
const EXPECTED = 'pkcs11:, awskms://, hashivault:// or file:';

/** Whether this is meant as a URI and not as a path. `./a:b` is a path. */
export function looksLikeKeyUri(text: string): boolean {
  return SCHEME.test(text);
}

/** Throws KeyUriError, which quotes neither a PIN nor more than the URI's beginning. */
export function parseKeyUri(text: string): KeyUri {
  if (text.length > MAX_URI_LENGTH) {
    throw new KeyUriError(`the key URI has ${text.length} characters; at most ${MAX_URI_LENGTH} are read`);
  }
  const scheme = SCHEME.exec(text)?.[0];
  if (scheme === undefined) throw new KeyUriError(`expected a key URI (${EXPECTED}), found no scheme`);
  const rest = text.slice(scheme.length);
  switch (scheme.toLowerCase()) {
    case 'pkcs11:':
      return parsePkcs11Uri(rest);
    case 'awskms:':
      return parseAwsKms(rest);
    case 'hashivault:':
      return parseHashiVault(rest);
    case 'file:':
      return parseFile(rest);
    default:
      throw new KeyUriError(
        `expected a key URI (${EXPECTED}), found the scheme "${printable(scheme, 40)}"; a file of that name is written ./NAME`,
      );
  }
}

/** The URI for logs and messages: without its query, where a PIN may be; printable ASCII. */
export function describeKeyUri(uri: KeyUri): string {
  switch (uri.scheme) {
    case 'file':
      return `file:${uri.path.split('/').map(encodeURIComponent).join('/')}`;
    case 'awskms':
      return `awskms://${uri.endpoint ?? ''}/${uri.keyId}`;
    case 'hashivault':
      return `hashivault://${uri.keyName}`;
    case 'pkcs11':
      return describePkcs11(uri);
  }
}

function describePkcs11({ id, match }: Pkcs11KeyUri): string {
  const named = [
    ...Object.entries(match).map(([name, value]) => `${name}=${encodeURIComponent(String(value))}`),
    ...(id === undefined ? [] : [`id=${Buffer.from(id).toString('hex').replace(/../g, '%$&')}`]),
  ];
  return `pkcs11:${printable(named.join(';'))}`;
}

const KEY_ID = /^[A-Za-z0-9][A-Za-z0-9-]{0,127}$/;
const ALIAS = /^alias\/[A-Za-z0-9/_-]{1,250}$/;
const ARN =
  /^arn:aws[a-z-]{0,20}:kms:([a-z0-9-]{1,30}):[0-9]{12}:(?:key\/([A-Za-z0-9-]{1,128})|alias\/[A-Za-z0-9/_-]{1,250})$/;
const ENDPOINT = /^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})(?::[0-9]{1,5})?$/;

function parseAwsKms(rest: string): AwsKmsKeyUri {
  const slash = rest.startsWith('//') ? rest.indexOf('/', 2) : -1;
  const keyId = slash === -1 ? '' : rest.slice(slash + 1);
  const endpoint = slash === -1 ? '' : rest.slice(2, slash);
  const region = ARN.exec(keyId)?.[1];
  if (region === undefined && !KEY_ID.test(keyId) && !ALIAS.test(keyId)) {
    throw new KeyUriError(
      `expected awskms:///ID, awskms:///alias/NAME or awskms:///ARN, found "awskms:${printable(rest, 200)}"`,
    );
  }
  if (endpoint !== '' && !(ENDPOINT.test(endpoint) && URL.canParse(`https://${endpoint}`))) {
    throw new KeyUriError(
      `expected HOST or HOST:PORT between "awskms://" and the key, found "${printable(endpoint, 200)}"`,
    );
  }
  return { scheme: 'awskms', endpoint: endpoint === '' ? undefined : endpoint, keyId, region };
}

const TRANSIT_KEY = /^[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,126}[A-Za-z0-9_])?$/;

function parseHashiVault(rest: string): HashiVaultKeyUri {
  const keyName = rest.slice(2);
  if (!rest.startsWith('//') || !TRANSIT_KEY.test(keyName)) {
    throw new KeyUriError(
      `expected hashivault://NAME, the name of a key in the transit engine, found "hashivault:${printable(rest, 200)}"; the ` +
        'engine is named by TRANSIT_SECRET_ENGINE_PATH, the server by VAULT_ADDR',
    );
  }
  return { scheme: 'hashivault', keyName };
}

/** RFC 8089: `file:/path`, `file:///path` and `file://localhost/path`. */
function parseFile(rest: string): FileKeyUri {
  const path = percentDecode(rest.replace(/^\/\/(?:localhost)?(?=\/)/, ''), 'file');
  if (!path.startsWith('/') || path.startsWith('//')) {
    throw new KeyUriError(`expected file:/PATH with an absolute path, found "file:${printable(rest, 200)}"`);
  }
  return { scheme: 'file', path };
}
