/** What the metric says of a certificate whose reading fails for a while: the alert must end when the trouble does. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { type CertificatePair, CertificateSource } from '../../src/signer/certificate-source.ts';
import { SignerMetrics } from '../../src/signer/metrics.ts';
import { FakeClock } from '../../testing/support/fake-clock.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { recordingLogger } from '../../testing/support/recording-logger.ts';

const { signal } = new AbortController();
const NAME = 'vault/web-tls';
const { certificatePem, keyPem } = leaf();
const PAIR: CertificatePair = { chainPem: certificatePem, keyPem };

/** A signer's only certificate, in a Secret. */
class World {
  secret: CertificatePair | Error = PAIR;
  readonly log = recordingLogger();
  readonly #metrics = new SignerMetrics('test');
  readonly source = new CertificateSource({
    locations: [{ name: NAME }],
    openRemoteKey: () => assert.fail('its key is in the Secret'),
    objects: {
      readSecret: async () => {
        if (this.secret instanceof Error) throw this.secret;
        return this.secret;
      },
      readConfigMap: () => assert.fail('it is in a Secret'),
    },
    clock: new FakeClock(),
    log: this.log,
    onProblem: (name, problem) => this.#metrics.certificate(name, problem === undefined),
  });

  /** Reads it again. Resolves with the metric; undefined: there is no such series. */
  async read(secret: CertificatePair | Error): Promise<number | undefined> {
    this.secret = secret;
    await this.source.refresh(signal);
    const found = await this.#metrics.registry.getSingleMetric('dcred_signer_certificate_usable')?.get();
    return found?.values.find(({ labels }) => labels['certificate'] === NAME)?.value;
  }
}

test('a certificate that is usable from the start has the metric 1', async () => {
  const world = new World();
  assert.equal(await world.read(PAIR), 1);
});

test('one that could not be read once, or was broken, is usable again when the same one is read', async () => {
  const world = new World();
  for (const trouble of [
    new ApiError('no answer', { status: 0, reason: 'Network' }),
    { ...PAIR, chainPem: 'not a certificate' },
  ]) {
    await world.read(PAIR);
    assert.equal(await world.read(trouble), 0);
    assert.ok(world.source.get(NAME), 'the last good pair stays in use');
    assert.equal(await world.read(PAIR), 1);
    assert.equal(await world.read(PAIR), 1);
  }
  assert.deepEqual(
    world.log.lines.map(({ message }) => message),
    [
      'certificate loaded',
      'certificate not usable',
      'certificate usable again',
      'certificate not usable',
      'certificate usable again',
    ],
  );
});

test('one that never was usable has the metric 0 until it is', async () => {
  const world = new World();
  assert.equal(await world.read(new Error('there is no such Secret: create it')), 0);
  assert.match(world.source.problem ?? '', /there is no such Secret/);
  assert.equal(await world.read(PAIR), 1);
  assert.equal(world.source.problem, undefined);
});
