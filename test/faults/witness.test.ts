/** The witness itself, in front of a fake API server that answers as one that is being killed or started does. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { before, test } from 'node:test';
import { eventually } from '../../testing/support/processes.ts';
import { createProxyTls, type ProxyTls } from './proxy.ts';
import { Witness } from './witness.ts';

const NAMESPACE = 'edge';
const LIMIT = { timeoutMs: 300_000 };

/** An issued Secret without any file: every version of it is a problem. */
const line = (resourceVersion: string, data: object = {}): string => {
  const labels = { 'app.kubernetes.io/managed-by': 'dcred', 'dcred.dev/delegated-credential': 'web' };
  const ownerReferences = [{ kind: 'Pod', name: 'a', uid: 'uid-of-a' }];
  const metadata = { name: 'web-a', namespace: NAMESPACE, uid: 'uid', resourceVersion, labels, ownerReferences };
  return `${JSON.stringify({ type: 'ADDED', object: { metadata, data } })}\n`;
};

let tls: ProxyTls;

before(async () => {
  tls = await createProxyTls();
});

type Answer = (response: ServerResponse) => void;

/** What each watch gets, in turn, with two versions in all; one more watch stays open. Resolves to the problems found. */
async function problemsSeen(...answers: readonly Answer[]): Promise<readonly string[]> {
  let asked = 0;
  const server = createServer({ cert: tls.certificate, key: tls.key }, (_, response) => {
    const answer = answers[asked];
    asked += 1;
    if (answer === undefined) response.flushHeaders();
    else answer(response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const witness = new Witness({ server: new URL(`https://127.0.0.1:${port}`), ca: tls.authority.certificate });
  try {
    const all = async () => (asked > answers.length && witness.versions(NAMESPACE) >= 2) || undefined;
    await eventually('every watch to be followed', all, LIMIT);
    assert.equal(witness.versions(NAMESPACE), 2);
    const problems = witness.problems(NAMESPACE);
    assert.ok(problems.length > 0);
    return problems;
  } finally {
    await witness[Symbol.asyncDispose]();
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
}

test('a version that two watches show is judged once', async () => {
  await problemsSeen(
    (response) => response.end(line('1')),
    (response) => response.end(line('1') + line('2')),
  );
});

test('a version that the checker cannot read is a problem, and the watch goes on', async () => {
  const unreadable = line('1', { 'tls.crt': 1, 'dc.key': 1, 'dc.bin': 1, 'dc.hex': 1, 'dc.pem': 1 });
  const problems = await problemsSeen((response) => response.end(unreadable + line('2')));
  assert.match(problems[0] ?? '', /^edge\/web-a: cannot be judged: /);
});

const BROKEN: Readonly<Record<string, Answer>> = {
  'an empty line': (response) => response.end(`${line('1')}\n${line('2')}`),
  'half a line with a line end': (response) => response.end(`${line('1')}${line('2').slice(0, 40)}\n`),
  'a line that is not JSON': (response) => response.end(`${line('1')}panic\n`),
  'JSON that is no event': (response) => response.end(`${line('1')}null\n`),
  'an event without metadata': (response) => response.end(`${line('1')}{"type":"ADDED","object":{}}\n`),
  'an answer in plain text': (response) => response.writeHead(500).end('etcd is gone\n'),
  'the end of the connection': (response) => response.write(line('1'), () => response.destroy()),
  'the end of the connection within a line': (response) =>
    response.write(line('1').slice(0, 40), () => response.destroy()),
  'the end of the connection before an answer': (response) => response.destroy(),
};

for (const [what, answer] of Object.entries(BROKEN)) {
  test(`${what} ends that watch, and the next one is followed`, async () => {
    await problemsSeen(answer, (response) => response.end(line('1') + line('3')));
  });
}
