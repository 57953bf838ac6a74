import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ApiClient } from '../../../src/kubernetes/client/api-client.ts';
import { systemClock } from '../../../src/kubernetes/clock.ts';
import type { KubernetesObject } from '../../../src/kubernetes/objects.ts';
import { SECRETS } from '../../../src/kubernetes/resource-type.ts';
import { CertificateWatcher } from '../../../src/operator/certificates/certificate-watcher.ts';
import type { CertificateState } from '../../../src/operator/core/certificate-state.ts';
import { type ControlPlane, startControlPlane } from '../../../testing/controlplane/control-plane.ts';
import { type Delegation, delegation } from '../../../testing/support/builders.ts';
import { eventually } from '../../../testing/support/processes.ts';
import { recordingLogger } from '../../../testing/support/recording-logger.ts';
import { operatorsClient } from '../cluster.ts';

const signal = new AbortController().signal;

/** A watcher whose state can be awaited. */
class Watching {
  readonly stop = new AbortController();
  readonly log = recordingLogger();
  readonly changes: string[] = [];
  readonly watcher: CertificateWatcher;

  constructor(client: ApiClient, namespaces: readonly string[] = []) {
    const engine = { client, clock: systemClock, random: Math.random, log: this.log };
    this.watcher = new CertificateWatcher({
      engine,
      namespaces,
      log: this.log,
      signal: this.stop.signal,
      onChange: (key) => void this.changes.push(key),
    });
  }

  refer(resource: string, name: string | undefined): void {
    this.watcher.refer(`default/${resource}`, name === undefined ? undefined : { namespace: 'default', name });
  }

  said(name: string): string {
    return describeState(this.watcher.state({ namespace: 'default', name }));
  }

  /** Waits until the certificate has this state. */
  async until(name: string, expected: string): Promise<void> {
    await eventually(`${name} to be ${expected}`, async () => this.said(name) === expected || undefined).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}; it is ${this.said(name)}`);
      },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.stop.abort();
    await this.watcher.ended();
  }
}

function describeState(state: CertificateState): string {
  switch (state.kind) {
    case 'pending':
      return 'pending';
    case 'refused':
      return state.reason;
    case 'usable':
      return state.certificate.sha256;
  }
}

describe('with a real API server, a certificate', () => {
  let plane: ControlPlane;
  let client: ApiClient;
  let one: Delegation;
  let other: Delegation;

  before(async () => {
    plane = await startControlPlane();
    client = await operatorsClient(plane);
    one = delegation();
    other = delegation();
  });
  after(async () => {
    await client?.close();
    await plane?.stop();
  });

  async function put(name: string, { chainPem, keyPem }: Pick<Delegation, 'chainPem' | 'keyPem'>): Promise<void> {
    const data = { 'tls.crt': base64(chainPem), 'tls.key': base64(keyPem) };
    const secret = { metadata: { namespace: 'default', name }, type: 'kubernetes.io/tls', data };
    await client.apply<KubernetesObject>(SECRETS, secret, { signal, force: true });
  }

  const remove = (name: string) => client.delete(SECRETS, { namespace: 'default', name }, { signal });

  test('is followed from missing to present, replaced, broken, fixed and deleted', async () => {
    await using watching = new Watching(client);
    assert.equal(watching.said('life'), 'pending');
    watching.refer('web', 'life');
    await watching.until('life', 'CertificateNotFound');
    await put('life', one);
    await watching.until('life', one.certificate.sha256);
    await put('life', other);
    await watching.until('life', other.certificate.sha256);
    await put('life', { chainPem: one.chainPem, keyPem: other.keyPem });
    await watching.until('life', 'CertificateInvalid');
    await put('life', one);
    await watching.until('life', one.certificate.sha256);
    await remove('life');
    await watching.until('life', 'CertificateNotFound');
  });

  test('that exists is read at once', async () => {
    await put('there', one);
    await using watching = new Watching(client);
    watching.refer('web', 'there');
    await watching.until('there', one.certificate.sha256);
    assert.deepEqual(watching.changes, ['default/web']);
  });

  test('of two resources is watched once, for as long as one of them refers to it', async () => {
    await put('shared', one);
    await using watching = new Watching(client);
    watching.refer('web', 'shared');
    watching.refer('api', 'shared');
    assert.equal(watching.watcher.size.certificates, 1);
    await watching.until('shared', one.certificate.sha256);
    assert.deepEqual([...watching.changes].sort(), ['default/api', 'default/web']);

    watching.refer('web', undefined);
    assert.equal(watching.watcher.size.certificates, 1);
    await put('shared', other);
    await watching.until('shared', other.certificate.sha256);
    assert.equal(watching.changes.filter((key) => key === 'default/web').length, 1, 'it is not notified again');

    watching.refer('api', undefined);
    assert.equal(watching.watcher.size.certificates, 0);
    assert.equal(watching.said('shared'), 'pending');
  });

  test('that a resource no longer refers to is released', async () => {
    await put('first', one);
    await put('second', other);
    await using watching = new Watching(client);
    watching.refer('web', 'first');
    await watching.until('first', one.certificate.sha256);
    watching.refer('web', 'second');
    assert.equal(watching.said('first'), 'pending');
    await watching.until('second', other.certificate.sha256);
    assert.equal(watching.watcher.size.certificates, 1);
  });

  test('that is released and referred to again is read again', async () => {
    await put('again', one);
    await using watching = new Watching(client);
    watching.refer('web', 'again');
    await watching.until('again', one.certificate.sha256);
    watching.refer('web', undefined);
    await put('again', other);
    watching.refer('web', 'again');
    await watching.until('again', other.certificate.sha256);
  });

  test('that is referred to again is not a change', async () => {
    await put('quiet', one);
    await using watching = new Watching(client);
    watching.refer('web', 'quiet');
    await watching.until('quiet', one.certificate.sha256);
    for (let n = 0; n < 5; n += 1) watching.refer('web', 'quiet');
    assert.deepEqual(watching.changes, ['default/web']);
  });

  test('that dcred may not read is refused with the reason, and read once it may', async () => {
    await put('forbidden', one);
    await plane.kubectl(['create', 'serviceaccount', 'dcred']);
    const kubeconfig = await plane.kubeconfigFor({ serviceAccount: { namespace: 'default', name: 'dcred' } });
    const weak = await operatorsClient(plane, kubeconfig);
    try {
      await using watching = new Watching(weak);
      watching.refer('web', 'forbidden');
      await watching.until('forbidden', 'CertificateNotPermitted');
      const state = watching.watcher.state({ namespace: 'default', name: 'forbidden' });
      assert.ok(state.kind === 'refused');
      assert.match(
        state.message,
        /has no permission to read Secret "forbidden" in namespace "default": grant its service account get, list and watch/,
      );
      const rule = ['--verb=get,list,watch', '--resource=secrets', '--resource-name=forbidden'];
      await plane.kubectl(['create', 'role', 'reader', ...rule]);
      await plane.kubectl(['create', 'rolebinding', 'reader', '--role=reader', '--serviceaccount=default:dcred']);
      await watching.until('forbidden', one.certificate.sha256);
    } finally {
      await weak.close();
    }
  });

  test('never has its key in a log, however invalid it is', async () => {
    await using watching = new Watching(client);
    watching.refer('web', 'wrong');
    await watching.until('wrong', 'CertificateNotFound');
    const damaged = one.keyPem.replace('BEGIN PRIVATE', 'BEGIN');
    await put('wrong', { chainPem: one.chainPem, keyPem: damaged });
    await watching.until('wrong', 'CertificateInvalid');
    const told = JSON.stringify([watching.log.lines, watching.watcher.state({ namespace: 'default', name: 'wrong' })]);
    assert.ok(!told.includes(one.keyPem.split('\n')[1] ?? 'none'));
  });

  test('that no resource refers to any more is forgotten', async () => {
    await using watching = new Watching(client);
    watching.refer('web', 'own');
    await watching.until('own', 'CertificateNotFound');
    assert.equal(watching.watcher.size.certificates, 1);
    watching.refer('web', undefined);
    assert.equal(watching.watcher.size.certificates, 0);
  });

  test('is no longer watched once the watcher is stopped', async () => {
    const watching = new Watching(client);
    watching.refer('web', 'stopped');
    await watching.until('stopped', 'CertificateNotFound');
    await watching[Symbol.asyncDispose]();
    await put('stopped', one);
    assert.equal(watching.said('stopped'), 'CertificateNotFound');
  });
});

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
