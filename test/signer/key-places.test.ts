/**
 * Keys that are kept elsewhere, as configured by the chart: on a token, in a KMS and in a transit engine. The signer has the
 * configuration, the environment and the permissions that the chart gives it, and reads no Secret.
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { load } from 'js-yaml';
import { type Cluster, startCluster } from '../../testing/cluster/cluster.ts';
import { startOperator } from '../../testing/cluster/operator-process.ts';
import { type SignerProcess, startSigner } from '../../testing/cluster/signer-process.ts';
import {
  type KeyPlace,
  type KeyPlaces,
  publicKeyOf,
  startKeyPlaces,
  whyNoKeyPlaces,
} from '../../testing/keys/key-places.ts';
import { createTestAuthority } from '../../testing/support/certificates.ts';
import { callVault } from '../../testing/vault/vault.ts';
import { allowed, VERBS } from '../chart/access.ts';
import { assertServes, file } from '../cluster/verification.ts';

const SYSTEM = 'dcred-system';
const { signal } = new AbortController();
const absent = await whyNoKeyPlaces();
const authority = await createTestAuthority();

describe('a signer from the chart', { skip: process.env['CI'] === 'true' ? false : (absent ?? false) }, () => {
  let keys: KeyPlaces;
  let home: Cluster;
  let signer: SignerProcess;
  let token: string;
  const certificates = new Map<string, string>();
  const nameOf = ({ backend }: KeyPlace) => `${backend}-tls`;

  before(async () => {
    keys = await startKeyPlaces();
    const uris = Object.fromEntries(keys.places.map((place) => [nameOf(place), place.uri]));
    const env = keys.places.flatMap(({ env: one }) => Object.entries(one).map(([name, value]) => ({ name, value })));
    const values = {
      namespaces: ['edge'],
      signer: { enabled: true, certificates: [{ namespace: 'vault', keys: uris }], extraEnv: env },
    };
    const sets = Object.entries(values).flatMap(([key, value]) => ['--set-json', `${key}=${JSON.stringify(value)}`]);
    home = await startCluster({ namespaces: ['vault', 'edge'], helm: sets });
    await home.plane.untilRolesHold();
    for (const place of keys.places) {
      const certificate = await authority.certify(await publicKeyOf(place, signal));
      certificates.set(nameOf(place), certificate);
      const metadata = { namespace: 'vault', name: nameOf(place) };
      // Entries other than `tls.crt` mean nothing, whatever their names.
      const data = { 'tls.crt': certificate, key: 'awskms:///alias/other', 'tls.key': 'file:/etc/passwd' };
      await home.plane.kubectl(['create', '-f', '-'], {
        input: JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata, data }),
      });
    }
    const get = async (path: string, ...what: readonly string[]) =>
      (await home.plane.kubectl(['get', ...what, '-n', SYSTEM, '-o', `jsonpath=${path}`])).stdout;
    const config = load(await get('{.data.signer\\.yaml}', 'configmap', 'dcred-signer')) as object;
    const container = JSON.parse(await get('{.spec.template.spec.containers[0].env}', 'deployment', 'dcred-signer'));
    const given = (container as readonly { readonly name: string; readonly value: string }[]).filter(
      ({ name }) => name !== 'NODE_OPTIONS',
    );
    const directory = join(home.plane.directory, 'signer');
    mkdirSync(directory);
    const kubeconfig = await home.plane.kubeconfigFor({ serviceAccount: { namespace: SYSTEM, name: 'dcred-signer' } });
    signer = await startSigner({
      kubeconfig,
      config,
      directory,
      env: Object.fromEntries(given.map(({ name, value }) => [name, value])),
    });
    const lasting = ['--audience=dcred-signer', '--duration=24h'];
    const minted = await home.plane.kubectl(['create', 'token', 'dcred', '-n', SYSTEM, ...lasting]);
    token = join(directory, 'token');
    writeFileSync(token, minted.stdout, { mode: 0o600 });
  });
  after(async () => {
    await signer?.stop();
    await home?.[Symbol.asyncDispose]();
    await keys?.[Symbol.asyncDispose]();
  });

  test('may read no Secret, and of ConfigMaps only those that it needs', async () => {
    const user = `system:serviceaccount:${SYSTEM}:dcred-signer`;
    const [name = ''] = certificates.keys();
    const questions = ['vault', 'edge', SYSTEM].flatMap((namespace) =>
      VERBS.flatMap((verb) => [
        { verb, resource: 'secrets', namespace },
        { verb, resource: 'secrets', namespace, name },
        { verb, resource: 'configmaps', namespace },
      ]),
    );
    assert.deepEqual(await allowed(home.plane, { user }, questions), new Set());
    const about = (namespace: string) => VERBS.map((verb) => ({ verb, resource: 'configmaps', namespace, name }));
    assert.deepEqual(await allowed(home.plane, { user }, about('vault')), new Set(['get configmaps']));
    assert.deepEqual(await allowed(home.plane, { user }, about('edge')), new Set());
  });

  test('has credentials signed by each of them, for an operator that has no key either', async () => {
    const grants = [...certificates.keys()].map((name) => ({
      apiVersion: 'dcred.dev/v1alpha1',
      kind: 'DelegationGrant',
      metadata: { namespace: 'vault', name },
      spec: { certificateRef: { name }, from: [{ namespace: 'edge' }] },
    }));
    await home.plane.kubectl(['create', '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: grants }),
    });
    await using _operator = await startOperator({
      kubeconfig: home.operatorKubeconfig,
      args: ['--leader-elect=false', '-n', 'edge', `--signer=${signer.url}`, `--signer-ca=${signer.caFile}`].concat(
        `--signer-token=${token}`,
      ),
    });
    for (const [name] of certificates) {
      await home.createPod('edge', name, { labels: { app: name } });
      await home.createResource('edge', name, {
        certificateRef: { name, namespace: 'vault' },
        podSelector: { matchLabels: { app: name } },
      });
    }
    for (const name of certificates.keys()) await home.untilReason('edge', name, 'Issued');
    const secrets = await home.untilSecrets('edge', certificates.size);
    for (const secret of secrets) {
      assertServes(secret);
      const name = secret.metadata.labels?.['dcred.dev/delegated-credential'] ?? '';
      assert.equal(file(secret, 'tls.crt').toString(), certificates.get(name));
    }
    for (const { backend } of keys.places) {
      assert.match(
        await signer.metrics(),
        new RegExp(`^dcred_signer_key_requests_total\\{backend="${backend}",result="signed"\\} [1-9]`, 'm'),
      );
    }
    const logged = signer.lines.join('\n');
    for (const secret of [keys.vault.rootToken, 'PRIVATE KEY']) assert.ok(!logged.includes(secret));
  });

  test('logs in to Vault with a token that is good for Vault only', async (t) => {
    const place = keys.places.find(({ backend }) => backend === 'hashivault');
    assert.ok(place);
    if (place.name !== 'Vault') {
      t.skip('the fake logs in anybody: test/keys has that; DCRED_VAULT=1 builds Vault');
      return;
    }
    const mint = async (audience: string) =>
      (await home.plane.kubectl(['create', 'token', 'dcred-signer', '-n', SYSTEM, `--audience=${audience}`])).stdout;
    const vault = (path: string, body: object) => callVault(keys.vault, 'POST', path, body);
    await vault('sys/auth/kubernetes', { type: 'kubernetes' });
    await vault('auth/kubernetes/config', {
      kubernetes_host: home.plane.url,
      kubernetes_ca_cert: home.plane.certificateAuthority,
      // Vault reviews tokens with its own account, which may create TokenReviews.
      token_reviewer_jwt: (await home.plane.kubectl(['create', 'token', 'dcred-signer', '-n', SYSTEM])).stdout,
      disable_local_ca_jwt: true,
    });
    const name = place.uri.slice('hashivault://'.length);
    const policy = `path "transit/keys/${name}" { capabilities = ["read"] }
      path "transit/sign/${name}" { capabilities = ["update"] }`;
    await vault('sys/policies/acl/dcred-signer', { policy });
    // The role of docs/signer.md.
    await vault('auth/kubernetes/role/dcred-signer', {
      bound_service_account_names: 'dcred-signer',
      bound_service_account_namespaces: SYSTEM,
      audience: 'vault',
      token_policies: 'dcred-signer',
      token_ttl: '1h',
    });
    const tokenFile = join(home.plane.directory, 'vault-token');
    const env = {
      VAULT_ADDR: keys.vault.url,
      VAULT_KUBERNETES_ROLE: 'dcred-signer',
      VAULT_KUBERNETES_TOKEN_FILE: tokenFile,
    };
    writeFileSync(tokenFile, await mint('vault'), { mode: 0o600 });
    assert.ok((await publicKeyOf({ ...place, env }, signal)).length > 0);
    writeFileSync(tokenFile, await mint('dcred-signer'), { mode: 0o600 });
    await assert.rejects(publicKeyOf({ ...place, env }, signal), { code: 'KeyDenied' });
  });

  test("takes no key URI from a tenant's object: a public certificate and a URI let no tenant sign", async () => {
    const [place] = keys.places;
    assert.ok(place);
    const certificatePem = certificates.get(nameOf(place)) ?? '';
    const forged = keys.places.map(({ backend, uri }) => ({ name: `forged-${backend}`, uri }));
    for (const { name, uri } of forged) {
      await home.putCertificate('edge', name, { certificatePem, keyPem: uri });
      await home.createPod('edge', name, { labels: { app: name } });
      const podSelector = { matchLabels: { app: name } };
      await home.createResource('edge', name, { certificateRef: { name }, podSelector });
    }
    // It signs by itself, and could reach each of the keys.
    await using _operator = await startOperator({
      kubeconfig: home.operatorKubeconfig,
      args: ['--leader-elect=false', '-n', 'edge'],
      env: Object.assign({}, ...keys.places.map((one) => one.env)),
    });
    for (const { name, uri } of forged) {
      const { message } = await home.untilReason('edge', name, 'CertificateInvalid');
      assert.ok(!message.includes(uri), 'what is in tls.key is never quoted');
    }
  });
});
