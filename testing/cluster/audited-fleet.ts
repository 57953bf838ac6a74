/** A resource, its pods and their Secrets as an operator would leave them, for audits: each pod serves at the port that the test gives. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DELEGATED_CREDENTIALS } from '../../src/api/resource-types.ts';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import type { SecretManifest } from '../../src/issued-secret/secret-manifest.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import { PODS, SECRETS } from '../../src/kubernetes/resource-type.ts';
import { makeSecret } from '../../src/operator/pods/issuer.ts';
import { specOf } from '../support/builders.ts';
import type { LeafFiles } from '../support/certificates.ts';

export interface PodOptions {
  /** Default: one container port of this number. */
  readonly port?: number;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly running?: boolean;
  readonly noPorts?: boolean;
}

export class Fleet implements AsyncDisposable {
  readonly namespace: string;
  readonly #client: ApiClient;
  readonly #nodeName: string | undefined;
  readonly #leaf: LeafFiles;
  readonly #directories: string[] = [];
  readonly #signal = new AbortController().signal;

  constructor(client: ApiClient, namespace: string, leaf: LeafFiles, nodeName?: string) {
    this.#client = client;
    this.namespace = namespace;
    this.#leaf = leaf;
    this.#nodeName = nodeName;
  }

  /** The DelegatedCredential `web`, with the status that an operator writes. */
  async createResource(): Promise<void> {
    const { namespace } = this;
    const certificate = readDelegationCertificate(this.#leaf.certificatePem);
    const resource = { metadata: { name: 'web', namespace }, spec: { certificateRef: { name: 'web-tls' } } };
    await this.#client.create(DELEGATED_CREDENTIALS, resource, this.#call);
    const { dnsNames, keyAlgorithm, notAfter, sha256, subject } = certificate;
    const ready = { type: 'Ready', status: 'True', reason: 'Issued', message: 'all', lastTransitionTime: time(0) };
    const status = {
      conditions: [ready],
      certificate: { dnsNames, keyAlgorithm, notAfter: time(notAfter), sha256, subject },
    };
    await this.#client.mergePatch(
      DELEGATED_CREDENTIALS,
      { namespace, name: 'web' },
      { status },
      { ...this.#call, subresource: 'status' },
    );
  }

  /** Its uid. */
  async createPod(name: string, options: PodOptions = {}): Promise<string> {
    const { annotations = {}, noPorts = false, port = 8443, running = true } = options;
    const ports = noPorts ? {} : { ports: [{ containerPort: port }] };
    const pod = {
      metadata: { name, namespace: this.namespace, labels: { 'dcred.dev/inject': 'web' }, annotations },
      spec: {
        automountServiceAccountToken: false,
        ...(this.#nodeName === undefined ? {} : { nodeName: this.#nodeName }),
        containers: [{ name: 'main', image: 'localhost/none', ...ports }],
      },
    };
    const created = await this.#client.create(PODS, pod, this.#call);
    if (running) {
      const status = { phase: 'Running', podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] };
      const ref = { namespace: this.namespace, name };
      await this.#client.mergePatch(PODS, ref, { status }, { ...this.#call, subresource: 'status' });
    }
    return created.metadata.uid ?? '';
  }

  /** The Secret of this pod as issued at that time; nothing is written. */
  async makeSecret(pod: { readonly name: string; readonly uid: string }, secondsAgo = 0): Promise<SecretManifest> {
    return await makeSecret(
      {
        namespace: this.namespace,
        name: `web-${pod.name}`,
        resourceName: 'web',
        pod,
        spec: specOf(),
        certificate: readDelegationCertificate(this.#leaf.certificatePem),
        signer: signerFromPem(this.#leaf.keyPem),
        replaces: undefined,
        now: Math.floor(Date.now() / 1000) - secondsAgo,
      },
      generateCredentialKey,
      this.#signal,
    );
  }

  async publish(secret: SecretManifest): Promise<void> {
    await this.#client.create(SECRETS, secret, this.#call);
  }

  /** The files of a Secret, as a pod mounts them. */
  async mount({ data }: SecretManifest): Promise<string> {
    const directory = await mkdtemp(join(tmpdir(), 'dcred-audit-'));
    this.#directories.push(directory);
    for (const [name, content] of Object.entries(data)) {
      await writeFile(join(directory, name), Buffer.from(content, 'base64'));
    }
    return directory;
  }

  get #call() {
    return { signal: this.#signal };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const directory of this.#directories) await rm(directory, { recursive: true });
  }
}

function time(seconds: number): string {
  return new Date(seconds * 1000).toISOString();
}
