/** The variant of the image for keys on PKCS#11 tokens: its signer, run from its files, signs with a key in SoftHSM. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chown, copyFile, cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { AppFile } from '../../scripts/app-files.ts';
import { application } from '../../scripts/build.ts';
import { addon, defaultImageName, image, sharedLibraries } from '../../scripts/image.ts';
import { generateCredentialKey } from '../../src/credential/credential-key.ts';
import { readDelegationCertificate } from '../../src/credential/delegation-certificate.ts';
import { verifyCredential } from '../../src/credential/verify.ts';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { formatSignCall, type SignResult } from '../../src/signer/protocol.ts';
import { findSoftHsm, type TokenStore } from '../../testing/keys/softhsm.ts';
import { leaf } from '../../testing/support/openssl.ts';
import { freePort } from '../../testing/support/ports.ts';
import { endChild, eventually, run, tryRun } from '../../testing/support/processes.ts';
import { httpsCall } from '../signer/https-call.ts';

const USER = 65_532;
const LIBRARY = '/usr/lib/softhsm/libsofthsm2.so';
const PATH = '/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

async function whyNot(): Promise<string | false> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'needs root on Linux, for chroot';
  const hsm = await findSoftHsm();
  return hsm.available || process.env['CI'] === 'true' ? false : hsm.reason;
}

describe('the image for PKCS#11', { skip: await whyNot() }, () => {
  let folder: string;
  let root: string;
  let archive: Buffer;
  let store: TokenStore;
  let compiled: Buffer;
  let app: readonly AppFile[];
  const web = leaf();

  const inRoot = (path: string) => join(root, path);
  async function put(path: string, content: string | Uint8Array): Promise<void> {
    await mkdir(dirname(inRoot(path)), { recursive: true });
    await writeFile(inRoot(path), content);
    await chown(inRoot(path), USER, USER);
  }

  async function extract(to: string, content: Buffer): Promise<string> {
    const target = join(folder, to);
    await mkdir(target);
    await writeFile(join(folder, `${to}.tar`), content);
    await run('tar', ['-xf', `${to}.tar`], { cwd: folder });
    const [{ Layers: layers, RepoTags: tags }] = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'));
    for (const layer of layers) await run('tar', ['-xpf', join(folder, layer), '-C', target]);
    return tags[0];
  }

  before(async () => {
    const hsm = await findSoftHsm();
    assert.ok(hsm.available, 'SoftHSM');
    folder = await mkdtemp(join(tmpdir(), 'dcred-image-'));
    root = join(folder, 'variant');
    app = await application('0.0.0');
    compiled = await addon();
    archive = await image({ app, licences: Buffer.from(''), addon: compiled });
    assert.equal(await extract('variant', archive), `${await defaultImageName()}-pkcs11`);

    store = hsm.createStore();
    await store.initialise('bank');
    await store.importKey({ token: 'bank', label: 'tls', id: '01', pem: web.keyPem });
    // What a volume brings: the vendor's library with what it is linked with, its configuration, and the token.
    const helper = await run('which', ['softhsm2-util']);
    const libraries = sharedLibraries(helper.stdout.trim());
    for (const path of [LIBRARY, ...libraries]) {
      const target = inRoot(path === LIBRARY ? path : join('/usr/lib/hsm', path.slice(path.lastIndexOf('/') + 1)));
      await mkdir(dirname(target), { recursive: true });
      await copyFile(path, target);
    }
    await cp(join(store.folder, 'tokens'), inRoot('/tokens'), { recursive: true });
    await run('chown', ['-R', `${USER}:${USER}`, inRoot('/tokens')]);
    await put('/etc/softhsm2.conf', 'directories.tokendir = /tokens\nobjectstore.backend = file\nlog.level = ERROR\n');
    await put('/etc/dcred/pin/bank', `${store.pin}\n`);
  });
  after(async () => {
    store?.[Symbol.dispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const env = { PATH, SOFTHSM2_CONF: '/etc/softhsm2.conf', LD_LIBRARY_PATH: '/usr/lib/hsm' };
  const uri = `pkcs11:token=bank;object=tls?module-path=${LIBRARY}&pin-source=/etc/dcred/pin/bank`;
  const entry = ['node', '--disable-sigusr1', '/app/dcred.mjs'];
  /** As a container has them: /proc, in which Node finds its own binary to start the helper, and /dev/null. Arguments of `unshare`. */
  const inContainer = (of: string, ...words: readonly string[]) => {
    const script =
      'mkdir -p "$1/proc" "$1/dev" && mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && shift && exec chroot "$@"';
    const started = [`--userspec=${USER}:${USER}`, of, ...entry, ...words];
    return ['--mount', '--propagation', 'private', 'sh', '-c', script, 'sh', of, ...started];
  };

  test('is byte for byte the same when its add-on is compiled again', async () => {
    const again = await addon();
    assert.ok(compiled.equals(again));
    assert.ok(!compiled.includes(process.cwd()), 'no folder of this machine');
  });

  test('has pkcs11js beside what the default image has, and nothing else', async () => {
    const list = (await run('find', ['app', 'licenses', '-type', 'f'], { cwd: root })).stdout.trim().split('\n');
    const expected = [
      ...app.map(({ name }) => `app/${name}`),
      'app/node_modules/pkcs11js/build/Release/pkcs11.node',
      'app/node_modules/pkcs11js/index.js',
      'app/node_modules/pkcs11js/package.json',
      'licenses/dcred.txt',
      'licenses/packages.txt',
      'licenses/pkcs11js.txt',
    ];
    assert.deepEqual(list.sort(), expected.sort());
  });

  test('its signer signs by a key on a token, and the add-on is loaded in the helper only', async () => {
    const now = Math.floor(Date.now() / 1000);
    const life = { now, lifetimeSeconds: 86_400 };
    const serving = await makeDevCertificate({ dnsNames: ['signer.test'], ...life });
    const client = await makeDevCertificate({ dnsNames: ['operator.test'], ...life });
    const config = {
      clients: [{ name: 'test', cluster: 'test', tlsName: 'operator.test' }],
      certificates: [{ name: 'vault/bank-tls', directory: '/etc/dcred/bank-tls', key: uri }],
      grants: [{ certificate: 'vault/bank-tls', from: [{ namespace: 'edge' }] }],
    };
    await put('/etc/dcred/bank-tls/tls.crt', web.certificatePem);
    await put('/etc/dcred/signer.yaml', JSON.stringify(config));
    await put('/etc/dcred/tls.crt', serving.certificate);
    await put('/etc/dcred/tls.key', serving.key);
    await put('/etc/dcred/clients.crt', client.authority);
    await put('/var/log/dcred/audit.jsonl', '');
    const [port, health] = [await freePort(), await freePort()];
    const options = {
      config: '/etc/dcred/signer.yaml',
      'tls-cert': '/etc/dcred/tls.crt',
      'tls-key': '/etc/dcred/tls.key',
      'client-ca': '/etc/dcred/clients.crt',
      'audit-log': '/var/log/dcred/audit.jsonl',
      'bind-address': `127.0.0.1:${port}`,
      'health-probe-bind-address': `127.0.0.1:${health}`,
      'metrics-bind-address': '0',
    };
    const words = inContainer(root, 'signer', ...Object.entries(options).map(([name, value]) => `--${name}=${value}`));
    const child = spawn('unshare', words, { env, stdio: ['ignore', 'ignore', 'pipe'] });
    const log: string[] = [];
    child.stderr.setEncoding('utf8').on('data', (text: string) => log.push(text));
    try {
      await eventually('the signer to be ready', async () => {
        if (child.exitCode !== null) throw new Error(`the signer ended: ${log.join('')}`);
        const answer = await fetch(`http://127.0.0.1:${health}/readyz`).catch(() => undefined);
        return answer?.ok || undefined;
      }).catch((error: unknown) => {
        throw new Error(`${String(error)}: ${log.join('')}`);
      });
      const key = await generateCredentialKey('ECDSAP256');
      const request = {
        certificate: 'vault/bank-tls',
        usage: 'Server',
        dcCertVerifyAlgorithm: 0x0403,
        subjectPublicKeyInfo: key.subjectPublicKeyInfo,
        expiresAt: now + 3_600,
        namespace: 'edge',
        resource: 'web',
        podUid: 'uid',
      } as const;
      const server = { port, path: '/v1/sign', servername: 'signer.test', ca: serving.authority, headers: {} };
      const answer = await httpsCall(
        { ...server, cert: client.certificate, key: client.key },
        formatSignCall([request]),
      );
      const [result] = (answer.body as { readonly results: readonly SignResult[] }).results;
      assert.ok(result?.ok, JSON.stringify(answer.body));
      const bytes = Buffer.from(result.credential, 'base64');
      const certificate = readDelegationCertificate(web.certificatePem);
      assert.equal(verifyCredential({ bytes, certificate, usage: 'Server', now }).ok, true);
      const maps = (pid: number) => readFile(`/proc/${pid}/maps`, 'utf8');
      const { stdout: helper } = await run('ps', ['--no-headers', '-o', 'pid', '--ppid', String(child.pid)]);
      assert.doesNotMatch(await maps(child.pid ?? 0), /pkcs11|softhsm/);
      assert.match(await maps(Number(helper)), /pkcs11\.node[\s\S]*libsofthsm2|libsofthsm2[\s\S]*pkcs11\.node/);
    } finally {
      await endChild(child);
    }
    assert.ok(!log.join('').includes(store.pin));
  });

  test('the default image says which one to take', async () => {
    const plain = join(folder, 'plain');
    await extract('plain', await image({ app, licences: Buffer.from('') }));
    await writeFile(join(plain, 'leaf.crt'), web.certificatePem);
    await writeFile(join(plain, 'pin'), store.pin);
    const key = uri.replace('/etc/dcred/pin/bank', '/pin');
    const words = inContainer(plain, 'issue', '--cert', '/leaf.crt', '--key', key, '--out', '/tmp/web');
    const { stderr } = await tryRun('unshare', words, { env });
    assert.match(stderr, /use the image whose tag ends in -pkcs11/);
  });
});
