import { Readable, Transform } from 'node:stream';
import { NodeHttpHandler } from '@smithy/node-http-handler';
import { KeyError } from '../key-error.ts';

/** A signature or a public key is under a kilobyte, credentials a few. */
const MAX_ANSWER_BYTES = 1024 * 1024;

/** The SDK's own way to AWS, which reads an answer for as long as it comes. */
export class BoundedHandler extends NodeHttpHandler {
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
