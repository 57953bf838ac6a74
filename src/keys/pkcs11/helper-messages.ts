/** What the signer's process and its PKCS#11 helper say to each other. */
import type { KeyErrorCode } from '../key-error.ts';
import type { Pkcs11KeyUri } from '../pkcs11-uri.ts';

/** The helper is this program with this one argument. */
export const HELPER_COMMAND = 'pkcs11-helper';

export type HelperRequest =
  | {
      readonly id: number;
      readonly do: 'open';
      readonly uri: Omit<Pkcs11KeyUri, 'pinSource' | 'pinValue'>;
      readonly pin: string | undefined;
      /** SubjectPublicKeyInfo of the key that is wanted. */
      readonly publicKey: Uint8Array | undefined;
    }
  | { readonly id: number; readonly do: 'sign'; readonly digest: Uint8Array };

export type HelperAnswer =
  | { readonly id: number; readonly ok: true; readonly value: Uint8Array }
  | { readonly id: number; readonly ok: false; readonly code: KeyErrorCode; readonly message: string };
