import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { GROUPS, generateKeyShare } from '../../src/probe/key-exchange.ts';
import type { TlsError } from '../../src/probe/tls-error.ts';

for (const { code, name } of GROUPS) {
  describe(`a key share of ${name}`, () => {
    test('leads both sides to the same secret', () => {
      const [one, other] = [generateKeyShare(name), generateKeyShare(name)];
      assert.equal(one.code, code);
      assert.deepEqual(one.agree(other.publicKey), other.agree(one.publicKey));
    });

    test("refuses what is no public key of the group, also another group's", () => {
      const share = generateKeyShare(name);
      const message = `the server's key share is not a public key of ${name}`;
      const others = GROUPS.filter((group) => group.name !== name).map(
        (group) => generateKeyShare(group.name).publicKey,
      );
      // For X25519 a key of small order (RFC 8446 section 7.4.2).
      const zeros = new Uint8Array(share.publicKey.length);
      const offCurve = name === 'x25519' ? [] : [Uint8Array.of(4, ...zeros.subarray(1))];
      for (const peer of [new Uint8Array(), share.publicKey.subarray(1), zeros, ...offCurve, ...others]) {
        assert.throws(() => share.agree(peer), { code: 'Malformed', message } satisfies Partial<TlsError>);
      }
    });
  });
}
