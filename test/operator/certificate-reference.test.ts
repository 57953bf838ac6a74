import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from '../../src/kubernetes/clock.ts';
import { CertificateWatcher } from '../../src/operator/certificate-watcher.ts';
import { resource, specOf } from '../../testing/support/builders.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

function resolve(certificateRef: { readonly name: string; readonly namespace?: string }) {
  const log = recordingLogger();
  const watcher = new CertificateWatcher({
    engine: { client: {} as never, clock: systemClock, random: Math.random, log },
    log,
    onChange: () => {},
    namespaces: [],
    signal: new AbortController().signal,
  });
  return watcher.resolve(resource({ namespace: 'edge', spec: specOf({ certificateRef }) }));
}

test('a certificate of the same namespace may be used, named with its namespace or without', () => {
  assert.equal(resolve({ name: 'web-tls' }).kind, 'pending');
  assert.equal(resolve({ name: 'web-tls', namespace: 'edge' }).kind, 'pending');
});

test('a certificate of another namespace that has not granted it is refused', () => {
  const state = resolve({ name: 'web-tls', namespace: 'vault' });
  assert.ok(state.kind === 'refused');
  assert.equal(state.reason, 'CertificateNotPermitted');
});
