/** The yardstick: a bare loop that sends the same POSTs and PUTs, and does nothing else. */
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { makeSecret } from '../../src/operator/pods/issuer.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { HttpApi } from './http-api.ts';
import { CONNECTIONS, type Stage } from './stage.ts';

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

export class RawLoop implements AsyncDisposable {
  readonly #api: HttpApi;
  readonly #secrets: string;
  readonly #template: string;

  private constructor(api: HttpApi, secrets: string, body: string) {
    this.#api = api;
    this.#secrets = secrets;
    this.#template = body;
  }

  /** With the operator's own account: authorization and the chart's admission policies are part of what a write costs. */
  static async prepare({ cluster, namespace, secrets }: Stage): Promise<RawLoop> {
    const api = await HttpApi.connect(cluster.operatorKubeconfig, CONNECTIONS);
    return new RawLoop(api, secrets, await template(namespace));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#api.close();
  }

  /** Seconds that it takes. */
  async create(count: number): Promise<number> {
    return await this.#send(count, 'POST', () => this.#secrets);
  }

  async replace(count: number): Promise<number> {
    return await this.#send(count, 'PUT', (name) => `${this.#secrets}/${name}`);
  }

  async #send(count: number, method: 'POST' | 'PUT', path: (name: string) => string): Promise<number> {
    const mark = method === 'POST' ? '' : 'x';
    return await this.#api.times(count, async (number) => {
      const name = `raw-${number}`;
      // A new annotation, because the API server writes nothing for an object that has not changed.
      const body = this.#template.replaceAll(NAME, name).replace('"annotations":{', `"annotations":{"x":"${mark}",`);
      await this.#api.send(method, path(name), body);
    });
  }
}
