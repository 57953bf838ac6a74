/**
 * The PKCS#11 helper, a process of its own: a vendor's library that blocks, crashes or corrupts memory does it there. Opens one key,
 * signs digests with it, and ends with its parent. Says and writes nothing but answers.
 */
import type { Duplex } from 'node:stream';
import { JsonLines } from '../../kubernetes/json-lines.ts';
import { KeyError } from '../key-error.ts';
import { type HelperAnswer, type HelperRequest, lineOf, MAX_MESSAGE_BYTES } from './helper-messages.ts';
import { Token } from './token.ts';
import { tokenError } from './token-error.ts';

/** Resolves when the parent is gone. False: native calls are under way, which nothing but the end of the process is sure to end. */
export async function serveHelper(channel: Duplex): Promise<boolean> {
  let token: Token | undefined;
  let running = 0;
  const gone = new Promise<void>((resolve) => {
    channel.once('close', resolve);
  });
  // A parent that is gone needs no answer, and what closed the connection does not matter.
  channel.on('error', () => undefined);

  const use = async (request: HelperRequest): Promise<Uint8Array> => {
    if (request.do === 'open') {
      const { pin, publicKey, uri } = request;
      token = Token.open(await loadLibrary(), {
        uri: { ...uri, id: bytesOf(uri.id) },
        pin,
        publicKey: bytesOf(publicKey),
      });
      return token.publicKey;
    }
    if (token === undefined) throw new KeyError('KeyUnavailable', 'the token is not open');
    return await token.sign(Buffer.from(request.digest, 'base64'));
  };
  const serve = async (request: HelperRequest) => {
    running += 1;
    const { id } = request;
    const answer = await use(request).then(
      (value): HelperAnswer => ({ id, ok: true, value: Buffer.from(value).toString('base64') }),
      (error: unknown): HelperAnswer => {
        const { code, message } = tokenError('use the token', error);
        return { id, ok: false, code, message };
      },
    );
    running -= 1;
    channel.write(lineOf(answer));
  };
  const lines = new JsonLines('the parent', MAX_MESSAGE_BYTES);
  channel.on('data', (chunk: Uint8Array) => {
    for (const line of lines.push(chunk)) void serve(JSON.parse(line) as HelperRequest);
  });
  await gone;
  if (running > 0) return false;
  token?.close();
  return true;
}

function bytesOf(base64: string | undefined): Uint8Array | undefined {
  return base64 === undefined ? undefined : Buffer.from(base64, 'base64');
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
