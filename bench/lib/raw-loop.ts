/** The yardstick: a bare loop that sends the same POSTs and PUTs, and does nothing else. */
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { makeSecret } from '../../src/operator/issuer.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import type { Stage } from './stage.ts';

const NAME = 'name-to-be-replaced';

/** A Secret as dcred issues it, with a place for its name. */
async function template(namespace: string): Promise<string> {
  const leaf = await (await createTestAuthority()).issue();
  const manifest = await makeSecret(
    {
      namespace,
      name: NAME,
      resourceName: 'web',
      pod: { name: NAME, uid: '00000000-0000-4000-8000-000000000000' },
      spec: {
        certificateRef: { name: 'web-tls' },
        usage: 'Server',
        keyAlgorithm: 'ECDSAP256',
        lifetimeSeconds: 172_800,
        suspend: false,
      },
      certificate: readDelegationCertificate(leaf.certificatePem),
      signer: signerFromPem(leaf.keyPem),
      replaces: undefined,
      now: Math.floor(Date.now() / 1000),
    },
    generateCredentialKey,
    new AbortController().signal,
  );
  return JSON.stringify(manifest);
}

export class RawLoop {
  readonly #stage: Stage;
  readonly #template: string;

  private constructor(stage: Stage, body: string) {
    this.#stage = stage;
    this.#template = body;
  }

  static async prepare(stage: Stage): Promise<RawLoop> {
    return new RawLoop(stage, await template(stage.namespace));
  }

  /** Seconds that it takes. */
  async create(count: number): Promise<number> {
    return await this.#send(count, 'POST', () => this.#stage.secrets);
  }

  async replace(count: number): Promise<number> {
    return await this.#send(count, 'PUT', (name) => `${this.#stage.secrets}/${name}`);
  }

  async #send(count: number, method: 'POST' | 'PUT', path: (name: string) => string): Promise<number> {
    const mark = method === 'POST' ? '' : 'x';
    return await this.#stage.api.times(count, async (number) => {
      const name = `raw-${number}`;
      // Another annotation: the API server writes nothing for an object that is not changed.
      const body = this.#template.replaceAll(NAME, name).replace('"annotations":{', `"annotations":{"x":"${mark}",`);
      await this.#stage.api.send(method, path(name), body);
    });
  }
}
