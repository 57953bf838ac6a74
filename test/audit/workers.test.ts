/** An audit while pods, Secrets and the API server change. One that fails ends whole: no handshake of it goes on beside the next one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { audit } from '../../src/audit/audit.ts';
import { type PodObject, readAuditedPod } from '../../src/audit/pod.ts';
import { auditSubjects } from '../../src/audit/subject.ts';
import type { Probed } from '../../src/audit/verdict.ts';
import { facts, issuedSecret, NOW, resource, SHA256 } from '../../testing/support/builders.ts';
import { settle } from '../../testing/support/fake-clock.ts';

const PODS = 40;

function input(count = PODS) {
  const names = Array.from({ length: count }, (_, index) => `web-${index}`);
  const pods = names.map((name) => {
    const metadata = { namespace: 'edge', name, uid: `uid-of-${name}`, labels: { 'dcred.dev/inject': 'web' } };
    const spec = { containers: [{ ports: [{ containerPort: 8443 }] }] };
    return readAuditedPod({ metadata, spec, status: { phase: 'Running', podIP: '192.0.2.1' } } satisfies PodObject);
  });
  const secrets = names.map((podName) => issuedSecret({ podName, podUid: `uid-of-${podName}` }));
  return { resources: [resource()], pods, secrets };
}

test('an audit that fails, or is ended, has ended when it says so', async () => {
  const turns = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: PODS, maxLength: PODS });
  await fc.assert(
    fc.asyncProperty(turns, fc.integer({ min: 0, max: PODS - 1 }), fc.boolean(), async (waits, failsAt, isEnded) => {
      const ended = new AbortController();
      const reason = new Error('the API server is gone');
      let [probes, running] = [0, 0];
      const probe = async (): Promise<Probed> => {
        const [turn, wait] = [probes, waits[probes] ?? 0];
        probes += 1;
        running += 1;
        for (let count = 0; count < wait; count += 1) await settle();
        running -= 1;
        if (isEnded && turn === failsAt) ended.abort(reason);
        return { reached: false, code: turn === failsAt ? 'Refused' : 'Timeout', message: 'no answer' };
      };
      const refresh = async () => {
        if (!isEnded && probes > failsAt) throw reason;
        return undefined;
      };
      const options = { input: input(), probe, refresh, concurrency: 5, graceSeconds: 60, now: () => 0 };
      await assert.rejects(audit(options, ended.signal), reason);
      const before = probes;
      assert.equal(running, 0);
      for (let count = 0; count < 10; count += 1) await settle();
      assert.equal(probes, before, `${probes - before} handshakes began after its end`);
    }),
    { numRuns: 30 },
  );
});

test("a Secret that is re-issued between the two probes of a pod is being updated, and nobody else's", async () => {
  const { pods, resources, secrets } = input(1);
  const [former] = secrets;
  assert.ok(former?.facts !== undefined);
  const { credentialSha256: sha256 = '', expiresAt } = former.facts;
  const newer = { ...former, facts: facts({ issuedAt: NOW, credentialSha256: 'f'.repeat(64) }) };
  const served = {
    certificateSha256: SHA256,
    certificateNotAfter: expiresAt,
    credential: { sha256, expiresAt },
    problems: [],
  };
  const probes: Probed[] = [
    { reached: false, code: 'Timeout', message: 'no answer' },
    { reached: true, served },
  ];
  const { entries } = await audit(
    {
      input: { resources, pods, secrets },
      probe: async () => probes.shift() ?? assert.fail('a third probe'),
      refresh: async () => auditSubjects({ resources, pods, secrets: [newer] })[0],
      concurrency: 1,
      graceSeconds: 180,
      now: () => NOW * 1000,
    },
    new AbortController().signal,
  );
  assert.deepEqual(
    entries.map(({ verdict }) => verdict.state),
    ['updating'],
  );
});
