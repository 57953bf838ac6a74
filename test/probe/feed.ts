/** What a probe's client makes of what a server sends. */
import assert from 'node:assert/strict';
import type { ClientHandshake, HandshakeOutcome } from '../../src/probe/handshake.ts';
import { TlsError } from '../../src/probe/tls-error.ts';

const MAX_TAKEN = 600 * 1024;

/**
 * Feeds a client that has started with all of the chunks, of which it must take a bounded part. Returns the outcome, or its refusal;
 * anything but a TlsError is thrown on, and fails the test.
 */
export function feed(client: ClientHandshake, chunks: Iterable<Uint8Array>): HandshakeOutcome | TlsError | undefined {
  let taken = 0;
  try {
    for (const chunk of chunks) {
      taken += chunk.length;
      assert.ok(taken <= MAX_TAKEN, 'the client takes no more');
      const { outcome } = client.receive(chunk);
      if (outcome !== undefined) return outcome;
    }
    return undefined;
  } catch (error) {
    if (error instanceof TlsError) return error;
    throw error;
  }
}

/** The client's refusal of these bytes. */
export function refusal(client: ClientHandshake, chunks: Iterable<Uint8Array>): TlsError {
  const refused = feed(client, chunks);
  assert.ok(refused instanceof TlsError, 'the client refuses');
  return refused;
}
