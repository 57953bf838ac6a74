/** What the signer's process and its PKCS#11 helper say to each other: each message is JSON on a line of its own, bytes are Base64. */
import { z } from 'zod';
import type { KeyErrorCode } from '../key-error.ts';
import type { Pkcs11KeyUri } from '../pkcs11-uri.ts';

/** A message holds a path, a PIN, a public key or a signature. */
export const MAX_MESSAGE_BYTES = 64 * 1024;

export type HelperRequest =
  | {
      readonly id: number;
      readonly do: 'open';
      readonly uri: Pick<Pkcs11KeyUri, 'match' | 'modulePath'> & { readonly id: string | undefined };
      readonly pin: string | undefined;
      /** SubjectPublicKeyInfo of the key that is wanted. */
      readonly publicKey: string | undefined;
    }
  | { readonly id: number; readonly do: 'sign'; readonly digest: string };

const CODES = {
  KeyUnavailable: 'KeyUnavailable',
  KeyNotFound: 'KeyNotFound',
  KeyDenied: 'KeyDenied',
  KeyUnusable: 'KeyUnusable',
  KeyMismatch: 'KeyMismatch',
  KeyNotConfigured: 'KeyNotConfigured',
} as const satisfies { [Code in KeyErrorCode]: Code };

const answerSchema = z.discriminatedUnion('ok', [
  z.strictObject({ id: z.int(), ok: z.literal(true), value: z.base64().min(1).max(4_096) }),
  z.strictObject({ id: z.int(), ok: z.literal(false), code: z.enum(CODES), message: z.string().max(4_096) }),
]);
export type HelperAnswer = Readonly<z.infer<typeof answerSchema>>;

export function lineOf(message: HelperRequest | HelperAnswer): string {
  return `${JSON.stringify(message)}\n`;
}

/** Undefined where the line is no answer: a library that corrupts memory may write anything. */
export function readAnswer(line: string): HelperAnswer | undefined {
  try {
    return answerSchema.safeParse(JSON.parse(line)).data;
  } catch {
    return undefined;
  }
}
