import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { scenario, servedNamespace } from './scenario.ts';
import { assertServes } from './verification.ts';

const running = scenario();

const PODS = 20;
const LIFETIME = 60;
const MINUTES = 5;
/** Renewals of one pod are a whole life apart less what is renewed before; with half a life, that is every 24 to 36 seconds. */
const EARLIEST = LIFETIME * 0.4;
const LATEST = LIFETIME * 0.6;

interface Issue {
  readonly pod: string;
  readonly issuedAt: number;
  readonly publicKey: string;
}

/** Every Secret as it is now, judged; the credentials that were not seen before are added to `issues`. */
async function sample(namespace: string, issues: Issue[]): Promise<void> {
  const secrets = await running().cluster.secrets(namespace);
  assert.equal(secrets.length, PODS);
  for (const secret of secrets) {
    const { publicKey } = assertServes(secret);
    const { annotations = {} } = secret.metadata;
    if (issues.some((issue) => issue.publicKey === publicKey)) continue;
    const issuedAt = Date.parse(annotations['dcred.dev/issued-at'] ?? '') / 1000;
    issues.push({ pod: annotations['dcred.dev/pod-name'] ?? '', issuedAt, publicKey });
  }
}

test(`credentials that live for a minute, ${PODS} pods, ${MINUTES} minutes: valid at every second, renewals spread`, async (t) => {
  const { cluster, operator } = running();
  const namespace = await servedNamespace(running(), { lifetimeSeconds: LIFETIME });
  await cluster.createPods(namespace, PODS);
  await cluster.untilSecrets(namespace, PODS);
  const issues: Issue[] = [];
  const end = Date.now() + MINUTES * 60_000;
  let samples = 0;
  while (Date.now() < end) {
    await sample(namespace, issues);
    samples += 1;
    await delay(1000 - (Date.now() % 1000));
  }
  t.diagnostic(`${samples} samples, ${issues.length} credentials`);
  assert.ok(samples > MINUTES * 60 * 0.8, 'sampled about every second');

  for (const pod of new Set(issues.map((issue) => issue.pod))) {
    const times = issues.filter((issue) => issue.pod === pod).map(({ issuedAt }) => issuedAt);
    assert.ok(times.length >= 8, `${pod} was renewed again and again, not ${times.length - 1} times`);
    for (const [index, time] of times.entries()) {
      const previous = times[index - 1];
      if (previous === undefined) continue;
      const apart = time - previous;
      assert.ok(apart >= EARLIEST - 1, `${pod} was renewed early, after ${apart} s`);
      assert.ok(apart <= LATEST + 5, `${pod} was renewed late, after ${apart} s`);
    }
  }
  // All pods were issued in one second; the first renewals are not.
  const first = issues.slice(PODS, 2 * PODS).map(({ issuedAt }) => issuedAt);
  const busiest = Math.max(...first.map((second) => first.filter((other) => other === second).length));
  t.diagnostic(`first renewals fell into ${new Set(first).size} different seconds, at most ${busiest} in one`);
  assert.ok(new Set(first).size >= 6);
  assert.ok(busiest <= PODS / 2);
  const due = await operator.metric('dcred_credentials_issued_total{reason="RenewalDue"}');
  assert.equal(await operator.issued(), PODS + due, 'no credential was re-issued for any other reason');
});
