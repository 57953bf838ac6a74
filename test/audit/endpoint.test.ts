import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readDelegatedCredential } from '../../src/api/read.ts';
import { type ContainerPort, endpointOf } from '../../src/audit/endpoint.ts';
import { readAuditedPod } from '../../src/audit/pod.ts';
import { auditSubjects } from '../../src/audit/subject.ts';

const port = (number: number, name?: string): ContainerPort => ({ port: number, name });

describe('the port of a pod', () => {
  for (const [what, ports, expected] of [
    ['the only one', [port(7000)], 7000],
    ['the one that is named for TLS', [port(8080, 'http'), port(7443, 'web-https')], 7443],
    ['the usual one of several', [port(8080), port(8443), port(9090, 'metrics')], 8443],
    ['the usual one among those named for TLS', [port(443, 'x'), port(8443, 'https'), port(993, 'imaps')], 8443],
  ] as const) {
    test(`is ${what}`, () => {
      assert.deepEqual(endpointOf('web', undefined, ports), { known: true, port: expected, starttls: undefined });
    });
  }

  test('is unknown with no container port, or with several candidates', () => {
    for (const ports of [[], [port(8080), port(9090)], [port(7001, 'tls'), port(7002, 'tls-b')]]) {
      const endpoint = endpointOf('web', undefined, ports);
      assert.ok(!endpoint.known);
      assert.match(endpoint.message, /port\.dcred\.dev\/web$/);
    }
  });

  test('is what the annotation says: a number, or the name of a container port', () => {
    const ports = [port(8080), port(7443, 'secure')];
    assert.deepEqual(endpointOf('web', '9000', ports), { known: true, port: 9000, starttls: undefined });
    assert.deepEqual(endpointOf('web', 'secure', ports), { known: true, port: 7443, starttls: undefined });
    assert.deepEqual(endpointOf('mail', '587/smtp', []), { known: true, port: 587, starttls: 'smtp' });
  });

  test('is never guessed from an annotation that is wrong', () => {
    for (const text of [
      '',
      '0',
      '65536',
      'none',
      '443/',
      '443/tls',
      '443/smtp/imap',
      ' 443',
      '4'.repeat(40),
      '\u001b[31m',
    ]) {
      const endpoint = endpointOf('web', text, [port(443)]);
      assert.ok(!endpoint.known, text);
      assert.ok(!endpoint.message.includes('\u001b'));
    }
  });
});

test('what is kept of a pod is bounded, whatever its annotations and ports say', () => {
  const text = fc.string({ maxLength: 2000 });
  const pod = fc.record({
    annotations: fc.dictionary(
      fc.oneof(
        text,
        text.map((name) => `port.dcred.dev/${name}`),
      ),
      text,
      { maxKeys: 40 },
    ),
    ports: fc.array(fc.record({ containerPort: fc.nat(), name: fc.constant('https') }), { maxLength: 200 }),
  });
  fc.assert(
    fc.property(pod, ({ annotations, ports }) => {
      const kept = readAuditedPod({
        metadata: { name: 'a', namespace: 'b', annotations },
        spec: { containers: [{ ports }] },
      });
      assert.ok(kept.ports.length <= 64);
      assert.ok(kept.portAnnotations.size <= 16);
      assert.ok([...kept.portAnnotations.values()].every((value) => value.length <= 64));
    }),
    { numRuns: 50 },
  );
});

test('a pod that is not complete yet is read all the same', () => {
  const kept = readAuditedPod({ metadata: { name: 'a', namespace: 'b' } });
  assert.deepEqual([kept.ip, kept.running, kept.ports], [undefined, false, []]);
});

test('a resource that is called like a property of every object is one like all others', () => {
  for (const name of ['constructor', 'web']) {
    const metadata = { namespace: 'edge', name, uid: 'u', generation: 1, resourceVersion: '1' };
    const spec = { certificateRef: { name: 'web-tls' }, podSelector: {} };
    const containers = [{ ports: [{ containerPort: 8443 }] }];
    const portOf = (annotations: Readonly<Record<string, string>>) => {
      const pod = readAuditedPod({ metadata: { ...metadata, name: 'pod', annotations }, spec: { containers } });
      const resources = [readDelegatedCredential({ metadata, spec } as never)];
      const [subject] = auditSubjects({ resources, pods: [pod], secrets: [] });
      return subject?.endpoint.known === true ? subject.endpoint.port : subject?.endpoint;
    };
    assert.equal(portOf({}), 8443, name);
    assert.equal(portOf({ [`port.dcred.dev/${name}`]: '9443' }), 9443, name);
  }
});
