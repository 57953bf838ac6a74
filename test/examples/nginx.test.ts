/**
 * The nginx configurations. No package archive has Tongsuo, so its own commands are checked only for form. Everything else runs in
 * Debian's nginx, on OpenSSL, with the delegation certificate but without its key.
 */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, type TestContext, test } from 'node:test';
import { CREDENTIAL_FILE_NAMES } from '../../src/credential/files.ts';
import { run, tryRun } from '../../testing/support/processes.ts';
import { credential } from '../agent/mount.ts';
import type { Manifest } from '../chart/chart.ts';
import { examples, manifests, read } from './examples.ts';
import { nginxMissing, Pod, withoutTongsuo } from './nginx.ts';
import { commands, words } from './readme.ts';

const SERVERS = [
  { folder: 'examples/nginx-tongsuo', names: ['web.example'], resources: ['web'] },
  { folder: 'examples/tengine', names: ['web.example', 'api.example'], resources: ['web', 'api'] },
] as const;
type Server = (typeof SERVERS)[number];

const missing = await nginxMissing();

test('nginx is installed', { skip: process.env['CI'] === 'true' ? false : (missing ?? false) }, () => {
  assert.equal(missing, undefined, 'CI must have it');
});

function blocks(configuration: string): readonly string[] {
  return configuration.split(/\bserver \{/).slice(1);
}

function sslCommands(block: string): readonly (readonly [string, string])[] {
  return [...block.matchAll(/^\s*ssl_conf_command (\S+) ([^;]+);$/gm)].map(([, name = '', value = '']) => [
    name,
    value,
  ]);
}

function paths(configuration: string): readonly string[] {
  const code = configuration.replaceAll(/^\s*#.*$/gm, '');
  return [...code.matchAll(/\s(\/(?:var|etc|tmp)\/[^\s;]+);/g)].map(([, path = '']) => path);
}

async function deploymentIn(folder: string): Promise<Manifest> {
  const example = (await examples()).find(({ name }) => name === folder);
  const found = (await manifests((await example?.render()) ?? '')).find(({ kind }) => kind === 'Deployment');
  assert.ok(found);
  return found;
}

/** The key pair for clients without support, created with the README's command. */
async function fallback(folder: string, pod: Pod) {
  const command = commands(await read(`${folder}/README.md`)).find((line) => line.includes('fallback.key')) ?? '';
  assert.match(command, /^openssl req /, 'the README says how to create the fallback certificate');
  await run('openssl', words(command).slice(1), { cwd: pod.directory });
  return {
    certificate: await readFile(join(pod.directory, 'fallback.crt'), 'utf8'),
    key: await readFile(join(pod.directory, 'fallback.key'), 'utf8'),
  };
}

async function podOf(t: TestContext, { folder, resources }: Server) {
  const pod = await Pod.create(t);
  const { certificate, key } = await fallback(folder, pod);
  const files = new Map<string, string | Uint8Array>([
    ['/etc/fallback/tls.crt', certificate],
    ['/etc/fallback/tls.key', key],
  ]);
  for (const resource of resources) {
    for (const [name, content] of await credential())
      files.set(`/var/run/secrets/dcred.dev/${resource}/${name}`, content);
  }
  await pod.write(files);
  return {
    pod,
    certificate: new X509Certificate(certificate),
    file: await pod.configure(await read(`${folder}/nginx.conf`)),
  };
}

async function handshake(pod: Pod, name: string, ...options: readonly string[]) {
  const args = ['s_client', '-connect', `127.0.0.1:${pod.port}`, '-servername', name, ...options];
  const { status, stdout } = await tryRun('openssl', args, { input: '' });
  const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(stdout)?.[0];
  return { status, certificate: pem === undefined ? undefined : new X509Certificate(pem) };
}

for (const server of SERVERS) {
  const { folder, names, resources } = server;

  describe(`${folder}/nginx.conf`, () => {
    test('loads certificate, credential and key of one resource, in the order that Tongsuo needs', async () => {
      const found = blocks(await read(`${folder}/nginx.conf`)).map(sslCommands);
      assert.deepEqual(
        found,
        resources.map((resource) => {
          const at = `/var/run/secrets/dcred.dev/${resource}`;
          return [
            ['Certificate', `${at}/tls.crt`],
            ['DC', `${at}/dc.hex`],
            ['DCKey', `${at}/dc.key`],
            ['Enable_sign_by_dc', 'on'],
          ];
        }),
      );
    });

    test('names only paths that exist in the pod', async () => {
      const { spec } = (await deploymentIn(folder))['spec'].template;
      const volumes = new Map<string, Record<string, unknown>>(
        spec.volumes.map((volume: { name: string }) => [volume.name, volume]),
      );
      const mounts: readonly { name: string; mountPath: string }[] = spec.containers[0].volumeMounts;
      for (const path of paths(await read(`${folder}/nginx.conf`))) {
        const [, resource, file] = /^\/var\/run\/secrets\/dcred\.dev\/([^/]+)\/(.+)$/.exec(path) ?? [];
        if (resource !== undefined) {
          assert.ok((resources as readonly string[]).includes(resource), path);
          assert.ok((CREDENTIAL_FILE_NAMES as readonly (string | undefined)[]).includes(file), path);
          continue;
        }
        const mount = mounts.find(({ mountPath }) => path.startsWith(`${mountPath}/`));
        assert.ok(mount, `${path} is on no volume`);
        const volume = volumes.get(mount.name) ?? {};
        if (volume['secret'] === undefined) assert.ok(volume['emptyDir'], `${path} can be written`);
        else assert.match(path, /\/tls\.(crt|key)$/, 'keys of a Secret of type kubernetes.io/tls');
      }
    });

    test("has the leaf's key in no file and no Secret of the pod", async () => {
      const { spec } = (await deploymentIn(folder))['spec'].template;
      const secrets = spec.volumes.flatMap(
        (volume: { secret?: { secretName: string } }) => volume.secret?.secretName ?? [],
      );
      assert.equal(secrets.length, 1);
      assert.match(secrets[0], /-fallback-tls$/);
      const keys = paths(await read(`${folder}/nginx.conf`)).filter((path) => path.endsWith('.key'));
      assert.deepEqual(
        new Set(keys),
        new Set(['/etc/fallback/tls.key', ...resources.map((name) => `/var/run/secrets/dcred.dev/${name}/dc.key`)]),
      );
    });

    test("is the ConfigMap's file that the Deployment's command loads", async () => {
      const [container] = (await deploymentIn(folder))['spec'].template.spec.containers;
      const { mountPath } = container.volumeMounts.find(({ name }: { name: string }) => name === 'configuration');
      assert.equal(container.command.at(-1), `${mountPath}/nginx.conf`);
      assert.equal(container.command[0], 'nginx', 'the name that the agent signals');
    });
  });

  describe(`${folder}/nginx.conf with Debian's nginx`, { skip: missing ?? false }, () => {
    test("is accepted without Tongsuo's commands", async (t) => {
      const { file, pod } = await podOf(t, server);
      const { status, stderr } = await pod.check(file);
      assert.equal(status, 0, stderr);
      assert.doesNotMatch(stderr, /\[(warn|emerg|alert|crit|error)\]/);
    });

    test('contains commands that OpenSSL does not know: those of Tongsuo', async (t) => {
      const { pod } = await podOf(t, server);
      const configuration = await read(`${folder}/nginx.conf`);
      assert.doesNotMatch(withoutTongsuo(configuration), /ssl_conf_command (DC|Enable)/);
      // Two spaces, so that the command is not removed.
      const file = await pod.configure(configuration.replaceAll('ssl_conf_command DC ', 'ssl_conf_command  DC '));
      const { status, stderr } = await pod.check(file);
      assert.equal(status, 1);
      assert.match(stderr, /SSL_CONF_cmd\("DC".*unknown cmd name/s);
    });

    test('serves the fallback certificate to clients without support, in TLS 1.2 and TLS 1.3', async (t) => {
      const { certificate, file, pod } = await podOf(t, server);
      await pod.start(t, file);
      for (const name of names) {
        for (const version of ['-tls1_2', '-tls1_3']) {
          const outcome = await handshake(pod, name, version);
          assert.equal(outcome.certificate?.fingerprint256, certificate.fingerprint256, `${name} ${version}`);
          assert.ok(certificate.checkHost(name), 'it is good for that name');
        }
      }
    });

    test('never serves the leaf itself, because its key is not in the pod', async (t) => {
      const { file, pod } = await podOf(t, server);
      await pod.start(t, file);
      const outcome = await handshake(pod, names[0], '-tls1_3', '-sigalgs', 'ecdsa_secp256r1_sha256');
      assert.deepEqual(outcome, { status: 1, certificate: undefined });
    });
  });
}

describe('a fallback certificate with an ECDSA key', { skip: missing ?? false }, () => {
  test('is replaced by the leaf, so clients without support are not served: that is why it is RSA', async (t) => {
    const [server] = SERVERS;
    const { file, pod } = await podOf(t, server);
    const made = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-keyout', 'etc/fallback/tls.key'];
    const named = ['-out', 'etc/fallback/tls.crt', '-subj', '/CN=web.example'];
    await run('openssl', ['req', '-x509', '-nodes', ...made, ...named], { cwd: pod.directory });
    await pod.start(t, file);
    assert.equal((await handshake(pod, 'web.example')).certificate, undefined);
  });
});
