/** An audit that fails ends whole: no handshake of it goes on beside the next one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { audit } from '../../src/audit/audit.ts';
import { type PodObject, readAuditedPod } from '../../src/audit/pod.ts';
import type { Probed } from '../../src/audit/verdict.ts';
import { issuedSecret, resource } from '../../testing/support/builders.ts';
import { settle } from '../../testing/support/fake-clock.ts';

const PODS = 40;

function input() {
  const names = Array.from({ length: PODS }, (_, index) => `web-${index}`);
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
