/** A key on a PKCS#11 token, in the helper's process: finds it, logs in, and signs on several sessions at once. */
import type { Handle, PKCS11, TokenInfo } from 'pkcs11js';
import { SIGNATURE_SCHEMES } from '../../credential/scheme.ts';
import { printable } from '../../text/printable.ts';
import { KeyError } from '../key-error.ts';
import type { MatchedAttribute, Pkcs11KeyUri } from '../pkcs11-uri.ts';
import { tokenError } from './token-error.ts';

type Library = typeof import('pkcs11js');

export interface TokenRequest {
  readonly uri: Pick<Pkcs11KeyUri, 'id' | 'match' | 'modulePath'>;
  readonly pin: string | undefined;
  readonly publicKey: Uint8Array | undefined;
}

/** Network HSMs sign several at a time; SoftHSM gains nothing above the number of cores. */
export const SESSIONS = 8;
const MAX_KEYS = 32;
/** CKA_EC_POINT and CKA_ID are read by their length, which a broken module may overstate. */
const MAX_ATTRIBUTE_BYTES = 4_096;

export class Token {
  readonly #library: Library;
  readonly #module: PKCS11;
  readonly #key: Handle;
  readonly #free: Handle[];
  readonly #waiting: ((session: Handle) => void)[] = [];
  /** SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array;

  /** Throws KeyError. */
  static open(library: Library, request: TokenRequest): Token {
    const module = new library.PKCS11();
    try {
      module.load(request.uri.modulePath);
    } catch {
      throw new KeyError(
        'KeyNotConfigured',
        `cannot load the PKCS#11 library ${printable(request.uri.modulePath)}: expected a shared library for this machine at module-path`,
      );
    }
    return attempt('open the token', () => {
      module.C_Initialize({ flags: library.CKF_OS_LOCKING_OK });
      const slot = findSlot(module, request.uri.match);
      const session = module.C_OpenSession(slot, library.CKF_SERIAL_SESSION);
      logIn(library, module, session, module.C_GetTokenInfo(slot), request.pin);
      const { key, publicKey } = findKey(library, module, session, request);
      return new Token(library, module, key, publicKey, [session, ...moreSessions(library, module, slot)]);
    });
  }

  private constructor(library: Library, module: PKCS11, key: Handle, publicKey: Uint8Array, sessions: Handle[]) {
    this.#library = library;
    this.#module = module;
    this.#key = key;
    this.#free = sessions;
    this.publicKey = publicKey;
  }

  /** r and s, side by side. Throws KeyError. */
  async sign(digest: Uint8Array): Promise<Uint8Array> {
    const session = this.#free.pop() ?? (await new Promise<Handle>((resolve) => this.#waiting.push(resolve)));
    try {
      this.#module.C_SignInit(session, { mechanism: this.#library.CKM_ECDSA }, this.#key);
      // The longest, of P-521; the module says how much of it it filled.
      return await this.#module.C_SignAsync(session, Buffer.from(digest), Buffer.alloc(2 * 66));
    } catch (error) {
      throw tokenError('sign with the token', error);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(session);
      else next(session);
    }
  }

  close(): void {
    this.#module.C_Finalize();
  }
}

function attempt<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw tokenError(what, error);
  }
}

/** The one slot that has all that the URI says. A token that is not there may be put back: that is tried again. */
function findSlot(module: PKCS11, match: Pkcs11KeyUri['match']): Handle {
  const slots = module.C_GetSlotList(true).flatMap((slot) => {
    const facts = factsOf(module, slot);
    return facts === undefined ? [] : [{ slot, facts }];
  });
  const wanted = Object.entries(match).filter(([name]) => name !== 'object');
  const found = slots.filter(({ facts }) => wanted.every(([name, value]) => facts[name as MatchedAttribute] === value));
  const [first, second] = found;
  if (first === undefined) {
    const labels = slots.map(({ facts }) => `"${printable(facts.token ?? '', 40)}"`).slice(0, 8);
    throw new KeyError(
      'KeyUnavailable',
      `no token matches the pkcs11 URI; the library shows ${labels.length === 0 ? 'no token' : `the tokens ${labels.join(', ')}`}`,
    );
  }
  if (second !== undefined) {
    throw new KeyError('KeyUnusable', `${found.length} tokens match the pkcs11 URI: add token=LABEL or serial=NUMBER`);
  }
  return first.slot;
}

/** Undefined where the slot does not say what is in it, as one with a card of another kind: that is none to be found. */
function factsOf(module: PKCS11, slot: Handle): Readonly<Partial<Record<MatchedAttribute, string>>> | undefined {
  try {
    const token = module.C_GetTokenInfo(slot);
    const place = module.C_GetSlotInfo(slot);
    const library = module.C_GetInfo();
    return {
      token: unpadded(token.label),
      manufacturer: unpadded(token.manufacturerID),
      model: unpadded(token.model),
      serial: unpadded(token.serialNumber),
      'slot-id': String(slot.readBigUInt64LE()),
      'slot-description': unpadded(place.slotDescription),
      'slot-manufacturer': unpadded(place.manufacturerID),
      'library-description': unpadded(library.libraryDescription),
      'library-manufacturer': unpadded(library.manufacturerID),
      'library-version': `${library.libraryVersion.major}.${library.libraryVersion.minor}`,
    };
  } catch {
    return undefined;
  }
}

/** PKCS#11 pads text with blanks to its field's length. */
function unpadded(text: string): string {
  let end = text.length;
  while (end > 0 && (text[end - 1] === ' ' || text[end - 1] === '\0')) end -= 1;
  return text.slice(0, end);
}

function logIn(library: Library, module: PKCS11, session: Handle, { flags }: TokenInfo, pin: string | undefined): void {
  if (pin === undefined) {
    if ((flags & library.CKF_LOGIN_REQUIRED) === 0) return;
    throw new KeyError('KeyNotConfigured', 'the token needs a PIN: add pin-source=/FILE to the pkcs11 URI');
  }
  try {
    module.C_Login(session, library.CKU_USER, pin);
  } catch (error) {
    // By another program, where all share one login.
    if (error instanceof Error && error.message.includes('CKR_USER_ALREADY_LOGGED_IN')) return;
    throw tokenError('log in to the token', error);
  }
}

interface FoundKey {
  readonly key: Handle;
  readonly publicKey: Uint8Array;
}

function findKey(library: Library, module: PKCS11, session: Handle, { publicKey, uri }: TokenRequest): FoundKey {
  const keys = findObjects(module, session, [
    { type: library.CKA_CLASS, value: library.CKO_PRIVATE_KEY },
    ...(uri.match.object === undefined ? [] : [{ type: library.CKA_LABEL, value: uri.match.object }]),
    ...(uri.id === undefined ? [] : [{ type: library.CKA_ID, value: Buffer.from(uri.id) }]),
  ]);
  if (keys.length === 0) {
    throw new KeyError('KeyNotFound', 'the token has no private key with the object label and id of the pkcs11 URI');
  }
  const found = keys.flatMap((key) => {
    const spki = publicKeyOf(library, module, session, key);
    return spki === undefined ? [] : [{ key, publicKey: spki }];
  });
  if (publicKey === undefined) {
    const [only, another] = found;
    if (only === undefined) {
      throw new KeyError(
        'KeyUnusable',
        'the token has no P-256, P-384 or P-521 public key object beside the private key',
      );
    }
    if (another === undefined) return only;
    throw new KeyError('KeyUnusable', `${found.length} keys match the pkcs11 URI: add id=ID to choose one`);
  }
  const wanted = found.find((one) => Buffer.from(publicKey).equals(one.publicKey));
  if (wanted !== undefined) return wanted;
  // Many tokens keep no public half: a signature proves whether it is the one.
  const [key] = keys;
  if (found.length === 0 && keys.length === 1 && key !== undefined) return { key, publicKey };
  throw new KeyError('KeyMismatch', "no key on the token that matches the pkcs11 URI is the certificate's");
}

/** The public key object with the same CKA_ID, as SubjectPublicKeyInfo. */
function publicKeyOf(library: Library, module: PKCS11, session: Handle, key: Handle): Uint8Array | undefined {
  const id = attribute(module, session, key, library.CKA_ID);
  if (id === undefined || id.length === 0) return undefined;
  const [other] = findObjects(module, session, [
    { type: library.CKA_CLASS, value: library.CKO_PUBLIC_KEY },
    { type: library.CKA_ID, value: Buffer.from(id) },
  ]);
  if (other === undefined) return undefined;
  const curve = attribute(module, session, other, library.CKA_EC_PARAMS);
  const point = attribute(module, session, other, library.CKA_EC_POINT);
  return curve === undefined || point === undefined ? undefined : subjectPublicKeyInfo(curve, point);
}

/** CKA_EC_POINT is an OCTET STRING around the point by the standard, and the bare point in some modules. Undefined: not a curve that dcred supports. */
function subjectPublicKeyInfo(curve: Uint8Array, point: Uint8Array): Uint8Array | undefined {
  const scheme = SIGNATURE_SCHEMES.find(
    ({ delegates, spkiPrefix }) =>
      delegates && Buffer.from(spkiPrefix).includes(Buffer.from(curve)) && curve[0] === 0x06,
  );
  if (scheme === undefined) return undefined;
  const coordinates = scheme.spkiLength - scheme.spkiPrefix.length;
  // What precedes the coordinates: nothing but the header of an OCTET STRING, and 0x04.
  if (
    point.length < coordinates + 1 ||
    point.length > coordinates + 4 ||
    point[point.length - coordinates - 1] !== 0x04
  ) {
    return undefined;
  }
  return Buffer.concat([scheme.spkiPrefix, point.subarray(point.length - coordinates)]);
}

type Template = { readonly type: number; readonly value: number | string | Buffer }[];

function findObjects(module: PKCS11, session: Handle, template: Template): readonly Handle[] {
  module.C_FindObjectsInit(session, template);
  try {
    return module.C_FindObjects(session, MAX_KEYS);
  } finally {
    module.C_FindObjectsFinal(session);
  }
}

/** Undefined where the object does not have it, or does not show it. */
function attribute(module: PKCS11, session: Handle, object: Handle, type: number): Buffer | undefined {
  try {
    const value = module.C_GetAttributeValue(session, object, [{ type }])[0]?.value;
    return value !== undefined && value.length <= MAX_ATTRIBUTE_BYTES ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Logged in with the first: PKCS#11 logs in a whole process. A token that has room for fewer is used with fewer. */
function moreSessions(library: Library, module: PKCS11, slot: Handle): readonly Handle[] {
  const sessions: Handle[] = [];
  try {
    while (sessions.length < SESSIONS - 1) sessions.push(module.C_OpenSession(slot, library.CKF_SERIAL_SESSION));
  } catch {
    // CKR_SESSION_COUNT.
  }
  return sessions;
}
