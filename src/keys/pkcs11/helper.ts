/**
 * The PKCS#11 helper, a process of its own: a vendor's library that blocks, crashes or corrupts memory does it there. Opens one key,
 * signs digests with it, and ends with its parent. Says and writes nothing but answers.
 */
import type { Serializable } from 'node:child_process';
import { KeyError } from '../key-error.ts';
import type { HelperAnswer, HelperRequest } from './helper-messages.ts';
import { Token } from './token.ts';
import { tokenError } from './token-error.ts';

export interface Channel {
  send(message: Serializable): unknown;
  on(event: 'message', listener: (message: unknown) => void): unknown;
  once(event: 'disconnect', listener: () => void): unknown;
}

/** Resolves when the parent is gone. False: native calls are under way, which nothing but the end of the process is sure to end. */
export async function serveHelper(channel: Channel): Promise<boolean> {
  let token: Token | undefined;
  let running = 0;
  const gone = new Promise<void>((resolve) => {
    channel.once('disconnect', resolve);
  });
  channel.on('message', (message) => {
    const request = message as HelperRequest;
    const answer = async (): Promise<HelperAnswer> => {
      const { id } = request;
      try {
        if (request.do === 'open') {
          token = Token.open(await loadLibrary(), request);
          return { id, ok: true, value: token.publicKey };
        }
        if (token === undefined) throw new KeyError('KeyUnavailable', 'the token is not open');
        return { id, ok: true, value: await token.sign(request.digest) };
      } catch (error) {
        const { code, message: text } = tokenError('use the token', error);
        return { id, ok: false, code, message: text };
      }
    };
    running += 1;
    void answer().then((reply) => {
      running -= 1;
      channel.send(reply);
    });
  });
  await gone;
  if (running > 0) return false;
  token?.close();
  return true;
}

async function loadLibrary(): Promise<typeof import('pkcs11js')> {
  try {
    return (await import('pkcs11js')).default;
  } catch {
    throw new KeyError(
      'KeyNotConfigured',
      'PKCS#11 needs the package pkcs11js with its compiled add-on: use the image whose tag ends in -pkcs11, or run "npm run pkcs11"',
    );
  }
}
