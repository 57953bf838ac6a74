/** A key that another process or machine keeps: what each backend gives to guarded-key.ts. */
import type { KeyObject } from 'node:crypto';
import type { SignatureScheme } from '../credential/scheme.ts';
import type { Clock } from '../kubernetes/clock.ts';

export interface RemoteKey {
  readonly scheme: SignatureScheme;
  readonly publicKey: KeyObject;
  /** Counts connections: what was proved of the key behind one says nothing of the key behind the next. */
  readonly connection: number;
  /** One attempt. The scheme's hash included; ECDSA signatures as DER. Throws KeyError, or the signal's reason. */
  sign(message: Uint8Array, signal: AbortSignal): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface OpenRequest {
  /** The certificate's, where there is one: of several keys or versions with one name, the one that belongs to it is taken. */
  readonly publicKey: KeyObject | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}
