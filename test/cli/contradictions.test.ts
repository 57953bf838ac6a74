/** Options that exclude each other, and values that are wrong whatever the cluster. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMMANDS } from '../../src/cli/commands.ts';
import { runLine } from './frame.ts';

for (const [line, expected] of [
  ['check -A --certificate web-tls', /--certificate is a Secret of one namespace: name it with -n, in place of -A/],
  [
    'inspect deployment/web -n edge',
    /-n is for secret\/NAME and pod\/NAME; got "deployment\/web", which is read as a file/,
  ],
  ['inspect pod -n edge', /got "pod", which is read as a file/],
  ['dev-ca --dns web.example --secret a/b', /--secret takes the name of a Secret, such as web-tls; got "a\/b"/],
  ['probe web.example:443 --alpn h2 --alpn \u00fc', /--alpn takes the name of a protocol, such as h2; got/],
  [`probe web.example:443 --alpn ${'h'.repeat(256)}`, /--alpn takes the name of a protocol/],
  [
    'issuer --ca-key edge=awskms:///alias/one --ca-key edge=awskms:///alias/other',
    /--ca-key edge is given twice: which key is meant\?/,
  ],
  ['dev-ca --dns web.example --secret web-tls --out web', /--secret NAME or --out DIR, and one of them only/],
] as const) {
  test(`dcred ${line}`, async () => {
    const { status, stderr, stdout } = await runLine(COMMANDS, line.split(' '));
    assert.match(stderr, expected);
    assert.deepEqual([status, stdout], [2, '']);
  });
}
