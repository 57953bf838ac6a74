/** `pkcs11:` URIs (RFC 7512): which token, which key on it, which module reaches it, where the PIN is. Pure. */
import { printable } from '../text/printable.ts';
import { KeyUriError, percentDecode, percentDecodeBytes } from './percent-decode.ts';

export interface Pkcs11KeyUri {
  readonly scheme: 'pkcs11';
  /** What must be the same on the token, the slot and the key; by the attributes' names in RFC 7512. */
  readonly match: Readonly<Partial<Record<MatchedAttribute, string>>>;
  /** CKA_ID. */
  readonly id: Uint8Array | undefined;
  /** Absolute path of the PKCS#11 library. */
  readonly modulePath: string;
  /** A file with the PIN, read at every login. */
  readonly pinSource: string | undefined;
  readonly pinValue: string | undefined;
}

const MATCHED = [
  'token',
  'manufacturer',
  'serial',
  'model',
  'object',
  'slot-id',
  'slot-manufacturer',
  'slot-description',
  'library-manufacturer',
  'library-description',
  'library-version',
] as const;
export type MatchedAttribute = (typeof MATCHED)[number];

const PATH_ATTRIBUTES: ReadonlySet<string> = new Set([...MATCHED, 'id', 'type']);
const QUERY_ATTRIBUTES: ReadonlySet<string> = new Set(['pin-source', 'pin-value', 'module-path', 'module-name']);
/**
 * Separators of the other part. RFC 7512 allows some of them in a value; but then a PIN after a wrong separator would be a part of a label or
 * a path, which messages show.
 */
const STRAY = { ';': /&/, '&': /[;?]/ } as const;
const SLOT_ID = /^[0-9]{1,10}$/;

/** Reads what follows `pkcs11:`. Throws KeyUriError, which never quotes a value of the query. */
export function parsePkcs11Uri(rest: string): Pkcs11KeyUri {
  const mark = rest.indexOf('?');
  const path = readAttributes(mark === -1 ? rest : rest.slice(0, mark), ';', PATH_ATTRIBUTES);
  const query = readAttributes(mark === -1 ? '' : rest.slice(mark + 1), '&', QUERY_ATTRIBUTES);
  const match: Partial<Record<MatchedAttribute, string>> = {};
  for (const name of MATCHED) {
    const value = path.get(name);
    if (value !== undefined) match[name] = percentDecode(value, name);
  }
  if (match['slot-id'] !== undefined && !SLOT_ID.test(match['slot-id'])) {
    throw new KeyUriError(`slot-id: expected a decimal number, found "${printable(match['slot-id'], 40)}"`);
  }
  if (match['slot-id'] !== undefined) match['slot-id'] = String(Number(match['slot-id']));
  // RFC 7512 section 2.3: without a minor version it is 0.
  if (/^[0-9]+$/.test(match['library-version'] ?? '')) match['library-version'] += '.0';
  const id = path.get('id');
  const type = path.get('type');
  if (type !== undefined && type !== 'private') {
    throw new KeyUriError(`type: expected "private", found "${printable(type, 40)}": only a private key signs`);
  }
  if (id === undefined && match.object === undefined) {
    throw new KeyUriError('expected object=LABEL or id=ID in the pkcs11 URI: which key on the token signs');
  }
  if (query.has('module-name')) {
    throw new KeyUriError('module-name is not supported: name the library by its file, module-path=/usr/lib/...');
  }
  return {
    scheme: 'pkcs11',
    match,
    id: id === undefined ? undefined : percentDecodeBytes(id, 'id'),
    modulePath: readModulePath(query.get('module-path')),
    ...readPin(query),
  };
}

function readAttributes(
  text: string,
  separator: keyof typeof STRAY,
  known: ReadonlySet<string>,
): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  if (text === '') return found;
  for (const attribute of text.split(separator)) {
    const equals = attribute.indexOf('=');
    const name = equals === -1 ? attribute : attribute.slice(0, equals);
    if (!known.has(name)) {
      throw new KeyUriError(
        `unknown attribute "${printable(name, 40)}" ${separator === ';' ? 'before' : 'after'} the "?" of the pkcs11 URI; expected one of ${[...known].join(', ')}`,
      );
    }
    if (equals === -1) throw new KeyUriError(`${name}: expected ${name}=VALUE in the pkcs11 URI`);
    if (found.has(name)) throw new KeyUriError(`${name} occurs twice in the pkcs11 URI`);
    const value = attribute.slice(equals + 1);
    const stray = STRAY[separator].exec(value)?.[0];
    if (stray !== undefined) {
      throw new KeyUriError(
        `${name}: found "${stray}" in its value; attributes are separated by ";" before the "?" and by "&" after it, and in a value it is written ${encodeURIComponent(stray)}`,
      );
    }
    found.set(name, value);
  }
  return found;
}

function readModulePath(value: string | undefined): string {
  if (value === undefined) {
    throw new KeyUriError(
      "expected ?module-path=/PATH in the pkcs11 URI: the token's PKCS#11 library, such as /usr/lib/softhsm/libsofthsm2.so",
    );
  }
  return absolute(percentDecode(value, 'module-path'), 'module-path');
}

/** RFC 7512 section 2.4: a path or a file: URI. A command ("|CMD") is never run. */
function readPin(query: ReadonlyMap<string, string>): Pick<Pkcs11KeyUri, 'pinSource' | 'pinValue'> {
  const [source, value] = [query.get('pin-source'), query.get('pin-value')];
  if (source !== undefined && value !== undefined) {
    throw new KeyUriError('expected pin-source or pin-value in the pkcs11 URI, and one of them only');
  }
  if (value === '') throw new KeyUriError('pin-value: expected a PIN');
  if (source === undefined) {
    return { pinSource: undefined, pinValue: value === undefined ? undefined : percentDecode(value, 'pin-value') };
  }
  const decoded = percentDecode(source, 'pin-source');
  const path = decoded.startsWith('file:') ? decoded.slice('file:'.length).replace(/^\/\/(?=\/)/, '') : decoded;
  return { pinSource: absolute(path, 'pin-source'), pinValue: undefined };
}

function absolute(path: string, part: string): string {
  if (path.startsWith('/') && path.length > 1) return path;
  throw new KeyUriError(`${part}: expected the absolute path of a file`);
}
