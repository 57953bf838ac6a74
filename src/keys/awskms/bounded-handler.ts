import { Readable, Transform } from 'node:stream';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { KeyError } from '../key-error.ts';

/** A signature or a public key is under a kilobyte, credentials a few. */
const MAX_ANSWER_BYTES = 1024 * 1024;

const CONNECT_MS = 3_000;
const ANSWER_MS = 10_000;

/**
 * The SDK's own way to AWS, which waits for an answer for as long as none comes, and reads one for as long as it does. It has 50
 * connections: as many calls that are never answered would leave none for the next one.
 */
export class BoundedHandler extends NodeHttpHandler {
  constructor() {
    // Without the last, a call that is not answered is only logged.
    super({ connectionTimeout: CONNECT_MS, requestTimeout: ANSWER_MS, throwOnRequestTimeout: true });
  }

  /** Of a longer answer, reading the body fails with KeyError. */
  override async handle(...request: Parameters<NodeHttpHandler['handle']>): ReturnType<NodeHttpHandler['handle']> {
    const { response } = await super.handle(...request);
    if (response.body instanceof Readable) response.body = bounded(response.body);
    return { response };
  }
}

function bounded(body: Readable): Readable {
  let size = 0;
  const limit = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length;
      if (size <= MAX_ANSWER_BYTES) done(null, chunk);
      else done(new KeyError('KeyUnavailable', `AWS answered with more than ${MAX_ANSWER_BYTES} bytes`));
    },
  });
  body.once('error', (error) => limit.destroy(error));
  // Also where the reader gives up: the connection is not kept for the rest.
  limit.once('close', () => body.destroy());
  return body.pipe(limit);
}
