/**
 * Everything that reads foreign input. Each codec must be total: for any input it gives a result or throws an error of its own class,
 * and what it gives is bounded.
 */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { AgentResourcesError, parseAgentResources } from '../../src/admission/injection/agent-resources.ts';
import { answerReview, readReview } from '../../src/admission/injection/review.ts';
import { ReviewError } from '../../src/admission/injection/review-error.ts';
import { readDelegatedCredential } from '../../src/api/read.ts';
import { parseReloads, ReloadSpecError } from '../../src/api/reload-spec.ts';
import { readRenewRequest } from '../../src/api/renew-request.ts';
import { readCertificate, readCertificateChain } from '../../src/credential/certificate.ts';
import { credentialKeyFromPem } from '../../src/credential/credential-key.ts';
import { checkDelegation } from '../../src/credential/delegation-certificate.ts';
import { CertificateError, CredentialKeyError, MalformedCredentialError } from '../../src/credential/errors.ts';
import { readCredentialFile } from '../../src/credential/formats.ts';
import { PemError, readPem, writePem } from '../../src/credential/pem.ts';
import { signerFromPem } from '../../src/credential/signer.ts';
import { verifyCredential } from '../../src/credential/verify.ts';
import { decodeDelegatedCredential, encodeDelegatedCredential } from '../../src/credential/wire.ts';
import { readIssuedSecret } from '../../src/issued-secret/issued-secret.ts';
import { CsrError, readCsr } from '../../src/issuer/read-csr.ts';
import { describeKeyUri, parseKeyUri } from '../../src/keys/key-uri.ts';
import { KeyUriError } from '../../src/keys/percent-decode.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import { JsonLines } from '../../src/kubernetes/json-lines.ts';
import type { KubernetesObject } from '../../src/kubernetes/objects.ts';
import { readPod } from '../../src/operator/core/pod.ts';
import { printable } from '../../src/text/printable.ts';
import { HOSTILE_STRINGS, mutateBytes, mutateText, mutateValue } from './mutate.ts';
import type { Random } from './random.ts';
import { damagedRequest } from './requests.ts';

/** Runs one case: whether the codec accepted it. Throws where the codec breaks its promise. */
export type Codec = (random: Random) => boolean;

const file = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url));
const text = (name: string) => file(name).toString('utf8');

const credentials = ['p256', 'p384', 'client', 'long', 'exp'].map((name) => file(`vectors/${name}.dc`));
const chains = ['vectors/leaf.crt', 'credential/cases/pem/good.crt', 'credential/cases/leaf-key/explicit.crt'].map(
  text,
);
const certificates = chains.flatMap((chain) => readPem(chain).map(({ der }) => der));
const keys = [
  ...['leaf', 'p384'].map((name) => readPem(text(`vectors/${name}.key`))[0]?.der ?? new Uint8Array()),
  ...[generateKeyPairSync('ed25519'), generateKeyPairSync('rsa', { modulusLength: 1_024 })].map(({ privateKey }) =>
    Uint8Array.from(privateKey.export({ type: 'pkcs8', format: 'der' })),
  ),
  Uint8Array.from(
    generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey.export({ type: 'sec1', format: 'der' }),
  ),
];
const PEM_PIECES = [
  '-----BEGIN ',
  '-----END ',
  '-----',
  'CERTIFICATE',
  'PRIVATE KEY',
  '\n',
  '\r',
  '\t',
  ' ',
  '=',
  ':',
  '\0',
  'A',
];

const KEY_URIS = [
  'pkcs11:token=a%20b;object=web;id=%01%ff;slot-id=3?module-path=/usr/lib/x.so&pin-source=file:/run/pin',
  'awskms:///arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab',
  'awskms://host:1/alias/web',
  'hashivault://web-tls',
  'file:///etc/tls.key',
];
const KEY_URI_PIECES = ['%', '%00', '%2f', ';', '&', '?', '=', '/', '//', ':', 'pin-value=1', 'type=private', '\u202e'];

/** The result, or undefined where it throws one of these. */
function only<T>(errors: readonly (abstract new (...args: never[]) => Error)[], work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    if (errors.some((one) => error instanceof one)) return undefined;
    throw error;
  }
}

const verified = { usage: 'Server', now: Date.parse('2026-11-22T22:00:00Z') / 1000 } as const;

const resource = {
  apiVersion: 'dcred.dev/v1alpha1',
  kind: 'DelegatedCredential',
  metadata: { name: 'web', namespace: 'shop', uid: 'u', generation: 1, resourceVersion: '1', annotations: { a: 'b' } },
  spec: {
    certificateRef: { name: 'web-tls' },
    podSelector: { matchLabels: { app: 'web' }, matchExpressions: [{ key: 'a', operator: 'In', values: ['b'] }] },
    usage: 'Server',
    keyAlgorithm: 'ECDSAP256',
    lifetimeSeconds: 172_800,
    renewBeforeSeconds: 86_400,
    secretTemplate: { labels: { team: 'a' }, annotations: { note: 'b' } },
    suspend: false,
  },
  status: { observedGeneration: 1, conditions: [{ type: 'Ready', status: 'True', reason: 'Issued', message: 'm' }] },
};

const metadata = {
  name: 'web-0',
  namespace: 'shop',
  uid: 'u',
  labels: {
    app: 'web',
    'dcred.dev/inject': 'web',
    'dcred.dev/delegated-credential': 'web',
    'app.kubernetes.io/managed-by': 'dcred',
  },
  annotations: {
    'dcred.dev/inject': 'web,api',
    'dcred.dev/containers': 'nginx,proxy',
    'dcred.dev/reload': 'signal:HUP:nginx',
    'dcred.dev/agent-resources': 'requests.cpu=5m,limits.memory=128Mi',
    'secret.dcred.dev/web': 'web-x',
    'gate.dcred.dev/web': '',
    'dcred.dev/pod-name': 'web-0',
    'dcred.dev/pod-uid': 'u',
    'dcred.dev/issued-at': '2026-11-22T22:00:00Z',
    'dcred.dev/expires-at': '2026-11-24T22:00:00Z',
    'dcred.dev/renew-at': '2026-11-23T22:00:00Z',
    'dcred.dev/certificate-sha256': 'ab',
    'dcred.dev/usage': 'Server',
    'dcred.dev/key-algorithm': 'ECDSAP256',
  },
  ownerReferences: [{ apiVersion: 'v1', kind: 'Pod', name: 'web-0', uid: 'u' }],
};

const review = {
  apiVersion: 'admission.k8s.io/v1',
  kind: 'AdmissionReview',
  request: {
    uid: 'r',
    operation: 'CREATE',
    resource: { group: '', version: 'v1', resource: 'pods' },
    object: {
      metadata,
      spec: {
        containers: [{ name: 'nginx', image: 'i', volumeMounts: [{ name: 'v', mountPath: '/v' }], resources: {} }],
        initContainers: [{ name: 'init', restartPolicy: 'Always' }],
        volumes: [{ name: 'v', emptyDir: {} }],
        securityContext: { runAsUser: 1, fsGroup: 2 },
      },
    },
  },
};

/** Values stay strings: the API server guarantees that much for annotations and labels. */
function mutateEntries(random: Random, entries: Readonly<Record<string, string>>): Record<string, string> {
  const changed = Object.entries(entries).map(([key, value]) => {
    if (!random.chance(3)) return [key, value] as const;
    return [
      random.chance(6) ? random.pick(HOSTILE_STRINGS) : key,
      mutateText(random, [value], ANNOTATION_PIECES),
    ] as const;
  });
  return Object.fromEntries(changed.filter(() => !random.chance(10)));
}

const ANNOTATION_PIECES = [
  ...HOSTILE_STRINGS,
  ',',
  ':',
  ';',
  '=',
  '2026-11-22T22:00:00Z',
  'signal:HUP:',
  'http:POST:http://',
  'exec:/',
];
const MAX_KEPT_CHARACTERS = 16_384;
/** Deterministic, as cases must be. */
const injection = { agent: { image: 'localhost/dcred', pullPolicy: 'Never' }, gatePods: true };
const noRandomness = (length: number) => Buffer.alloc(length, 7);

export const CODECS: Readonly<Record<string, Codec>> = {
  wire(random) {
    const bytes = Uint8Array.from(mutateBytes(random, credentials));
    const credential = only([MalformedCredentialError], () => decodeDelegatedCredential(bytes));
    if (credential !== undefined) assert.deepEqual(encodeDelegatedCredential(credential), bytes);
    return credential !== undefined;
  },

  'credential files'(random) {
    const files = random.chance(2) ? credentials : certificates;
    const data = random.chance(2)
      ? mutateBytes(random, files)
      : Buffer.from(mutateText(random, [writePem('DELEGATED CREDENTIAL', random.pick(credentials))], PEM_PIECES));
    return only([MalformedCredentialError], () => readCredentialFile(data)) !== undefined;
  },

  pem(random) {
    const pem = mutateText(random, chains, PEM_PIECES);
    const blocks = only([PemError], () => readPem(pem));
    const chain = only([CertificateError], () => readCertificateChain(pem));
    if (chain !== undefined) assert.ok(chain.length <= 32 && blocks !== undefined);
    return chain !== undefined;
  },

  x509(random) {
    const der = mutateBytes(random, certificates);
    const names = { chainPem: '', leafPem: '', where: 'it' };
    const certificate = only([CertificateError], () => readCertificate(Uint8Array.from(der), names));
    if (certificate === undefined) return false;
    assert.ok(certificate.subject.length <= 256 && certificate.dnsNames.length <= 100);
    checkDelegation(certificate);
    verifyCredential({ bytes: random.pick(credentials), certificate, ...verified });
    return true;
  },

  'pkcs8 and sec1'(random) {
    const label = random.pick(['PRIVATE KEY', 'EC PRIVATE KEY', 'RSA PRIVATE KEY', 'ENCRYPTED PRIVATE KEY']);
    const pem = writePem(label, mutateBytes(random, keys));
    return random.chance(2)
      ? only([CertificateError], () => signerFromPem(pem)) !== undefined
      : only([CredentialKeyError], () => credentialKeyFromPem(pem)) !== undefined;
  },

  'certificate requests'(random) {
    const pem = damagedRequest(random);
    let csr: ReturnType<typeof readCsr>;
    try {
      csr = readCsr(random.chance(8) ? mutateText(random, [pem], PEM_PIECES) : pem);
    } catch (error) {
      // It becomes a condition of the request.
      if (error instanceof CsrError) assert.equal(printable(error.message, 1_024), error.message);
      else throw error;
      return false;
    }
    assert.ok(csr.dnsNames.length > 0 && csr.dnsNames.length <= 100);
    for (const name of csr.dnsNames) assert.ok(name.length <= 253 && /^(\*\.)?[a-z0-9.-]+$/.test(name));
    assert.equal(csr.publicKey.asymmetricKeyType, 'ec');
    return true;
  },

  'key URIs'(random) {
    const uri = only([KeyUriError], () => parseKeyUri(mutateText(random, KEY_URIS, KEY_URI_PIECES)));
    if (uri === undefined) return false;
    const description = describeKeyUri(uri);
    assert.equal(printable(description, 8_192), description);
    if (uri.scheme !== 'pkcs11') assert.deepEqual(parseKeyUri(description), uri);
    return true;
  },

  resources(random) {
    // Without metadata it may throw: no API server sends such an object.
    const spec = mutateValue(random, resource.spec);
    const status = mutateValue(random, resource.status);
    const annotations = mutateEntries(random, { 'dcred.dev/renew-requested-at': '2026-11-22T22:00:00Z' });
    const raw = { ...resource, metadata: { ...resource.metadata, annotations }, spec, status };
    const read = readDelegatedCredential(raw);
    if (!('problem' in read)) return true;
    assert.ok(read.problem !== '');
    return false;
  },

  annotations(random) {
    // An API server takes label values of at most 63 characters.
    const labels = Object.fromEntries(
      Object.entries(mutateEntries(random, metadata.labels)).map(([key, value]) => [key, value.slice(0, 63)] as const),
    );
    const annotations = mutateEntries(random, metadata.annotations);
    const object = { metadata: { ...metadata, labels, annotations } } as KubernetesObject;
    assert.ok(JSON.stringify(readPod(object)).length <= MAX_KEPT_CHARACTERS, 'too much of a pod is kept');
    const issued = readIssuedSecret(object);
    readRenewRequest(annotations['dcred.dev/issued-at'] ?? '');
    only([ReloadSpecError], () => parseReloads(annotations['dcred.dev/reload'] ?? ''));
    only([AgentResourcesError], () => parseAgentResources(annotations['dcred.dev/agent-resources'] ?? ''));
    return issued !== undefined;
  },

  'admission bodies'(random) {
    const body = random.chance(4)
      ? mutateText(random, [JSON.stringify(review)], ['{', '}', '[', ']', '"', ',', ':', 'null', '\\u0000', '1e999'])
      : JSON.stringify(mutateValue(random, review));
    const admission = only([ReviewError], () => answerReview(readReview(body), noRandomness, injection));
    if (admission === undefined) return false;
    const answer = JSON.parse(admission.body) as { readonly response: { readonly allowed: boolean } };
    assert.equal(answer.response.allowed, true);
    return true;
  },

  'watch streams'(random) {
    const event = JSON.stringify({ type: 'ADDED', object: { metadata } });
    const stream = Buffer.from(mutateText(random, [`${event}\n${event}\n`], ['\n', '\r\n', '\0', '{', 'é', '\u2028']));
    // Shorter than the event at times, so that the limit is met too.
    const lines = new JsonLines('a test', random.chance(4) ? 500 : 4_096);
    const read: string[] = [];
    const isWhole = only([ApiError], () => {
      for (let at = 0; at < stream.length; ) {
        const size = 1 + random.below(random.chance(2) ? 8 : 2_048);
        read.push(...lines.push(stream.subarray(at, at + size)));
        at += size;
      }
      return true;
    });
    const expected = stream
      .toString('utf8')
      .split('\n')
      .slice(0, -1)
      .map((line) => line.trim());
    const found = expected.filter((line) => line !== '');
    assert.deepEqual(read, isWhole === true ? found : found.slice(0, read.length));
    return isWhole === true;
  },
};
