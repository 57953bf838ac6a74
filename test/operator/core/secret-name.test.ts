import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readAuditedPod } from '../../../src/audit/pod.ts';
import { auditSubjects } from '../../../src/audit/subject.ts';
import { overviews } from '../../../src/status/overview.ts';
import { facts, issuedSecret, NOW, podOf, resource } from '../../../testing/support/builders.ts';

describe('of two Secrets of a pod, one of them of an earlier name, the pod is judged by the one that it mounts', () => {
  const annotated = { 'secret.dcred.dev/web': 'fresh' };
  const expiresAt = NOW + 7_200;
  for (const [annotations, mounted, left] of [
    [annotated, 'fresh', 'web-web-0'],
    [annotated, 'fresh', 'a-former'],
    [{}, 'web-web-0', 'a-former'],
    [{}, 'web-web-0', 'zz-former'],
  ] as const) {
    const own = issuedSecret({ name: mounted, facts: facts({ expiresAt }) });
    const former = issuedSecret({ name: left, facts: facts({ expiresAt: NOW - 1 }) });
    for (const secrets of [
      [own, former],
      [former, own],
    ]) {
      const what = `${mounted} of ${secrets.map(({ name }) => name).join(', ')}`;

      test(`by an audit: ${what}`, () => {
        const { labels, name, namespace, uid } = podOf();
        const pod = readAuditedPod({ metadata: { name, namespace, uid, labels, annotations } });
        const [subject] = auditSubjects({ resources: [resource()], pods: [pod], secrets });
        assert.deepEqual([subject?.secretName, subject?.facts?.expiresAt], [mounted, expiresAt]);
      });

      test(`by dcred status: ${what}`, () => {
        const pod = podOf({ secretNames: 'secret.dcred.dev/web' in annotations ? { web: 'fresh' } : {} });
        const [overview] = overviews({ resources: [resource()], pods: [pod], secrets, now: NOW });
        const shown = overview?.pods[0];
        assert.deepEqual([shown?.secret, shown?.state], [mounted, 'current']);
      });
    }
  }
});
