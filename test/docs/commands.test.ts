/**
 * Every command in the documentation runs, on a real API server, in the order of its page; or the table in commands.ts says why it
 * cannot be run here. A reader's world: the chart is installed, an operator runs, and `edge` has what the pages' examples assume.
 */
import assert from 'node:assert/strict';
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { COMMON_OPTIONS } from '../../src/cli/arguments.ts';
import { COMMANDS } from '../../src/cli/commands.ts';
import { makeDevCertificate } from '../../src/provision/dev-authority.ts';
import { type OperatorProcess, startOperator } from '../../testing/cluster/operator-process.ts';
import { ensureBinaries } from '../../testing/controlplane/binaries.ts';
import { type ControlPlane, startControlPlane } from '../../testing/controlplane/control-plane.ts';
import { eventually, run, tryRun } from '../../testing/support/processes.ts';
import { commandsOf, type DocumentedCommand, documentedCommands, NOT_RUN, ROOT, whyNotRun } from './commands.ts';

const all = await documentedCommands();
/** For a busy machine. */
const TIMEOUT_MS = 600_000;
const SECTIONS_FIRST = ['Quick start on your own cluster'];
/** Pages that change or remove what the others need. */
const PAGES_LAST = ['charts/dcred/README.md', 'docs/operations.md'];

test('the commands are found', () => {
  assert.ok(all.length > 100, String(all.length));
  for (const page of ['README.md', 'docs/runbook.md', 'docs/operations.md', 'examples/helm/README.md']) {
    assert.ok(
      all.some((one) => one.page === page),
      page,
    );
  }
  assert.deepEqual(
    commandsOf('x.md', '# H\n\n    $ dcred a \\\n      b   # c\n    not one\n\n```\nmake x\n```\n').map(
      ({ text }) => text,
    ),
    ['dcred a b', 'make x'],
  );
});

test('every reason not to run a command matches a documented command', () => {
  for (const [pattern] of NOT_RUN)
    assert.ok(
      all.some(({ text }) => pattern.test(text)),
      String(pattern),
    );
});

test('every option and target in them exists', async () => {
  const targets = await readFile(join(ROOT, 'Makefile'), 'utf8');
  for (const { page, text } of all) {
    for (const [, target = ''] of text.matchAll(/^make ([a-z0-9-]+)/g))
      assert.ok(targets.includes(`\n${target}: `), text);
    for (const [, words = ''] of text.matchAll(/(?:^|\| |kubectl )dcred ([^|]*)/g)) {
      const command = COMMANDS.find(({ name }) => name === words.split(' ', 1)[0]);
      assert.ok(command !== undefined, `${page}: ${text}`);
      const known = new Set(Object.keys({ ...command.options, ...COMMON_OPTIONS }));
      for (const [, option = ''] of words.matchAll(/ --([a-z-]+)/g)) assert.ok(known.has(option), `${page}: ${text}`);
    }
  }
});

describe('in a cluster', () => {
  let plane: ControlPlane;
  let operator: OperatorProcess;
  let world: World;

  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'dcred-commands-'));
    plane = await startControlPlane({ controllerManager: true });
    world = await makeWorld(folder, plane);
    await plane.helm(['install', 'dcred', join(ROOT, 'charts/dcred'), '-n', 'dcred-system', '--create-namespace']);
    for (const namespace of ['edge', 'shop']) await plane.kubectl(['create', 'namespace', namespace]);
    operator = await startOperator({
      kubeconfig: plane.kubeconfig,
      args: ['--leader-elect=true'],
      env: { POD_NAMESPACE: 'dcred-system' },
    });
    await plane.kubectl(['apply', '-f', '-'], { input: JSON.stringify(edge(world.certificate)) });
  });
  after(async () => {
    await operator?.stop();
    await plane?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  for (const page of pagesInOrder()) {
    test(page, async () => {
      const namespace = page.startsWith('examples/') ? page.split('/')[1] : 'default';
      await world.use(namespace ?? 'default');
      for (const command of inOrder(page)) await world.run(command);
    });
  }
});

function pagesInOrder(): readonly string[] {
  const pages = [...new Set(all.filter(({ text }) => whyNotRun(text) === undefined).map(({ page }) => page))];
  return [...pages.filter((page) => !PAGES_LAST.includes(page)), ...PAGES_LAST];
}

/** Sections that install come first, in the order in which a reader follows the page. */
function inOrder(page: string): readonly DocumentedCommand[] {
  const here = all.filter((one) => one.page === page && whyNotRun(one.text) === undefined);
  const isFirst = ({ heading }: DocumentedCommand) => SECTIONS_FIRST.includes(heading);
  return [...here.filter(isFirst), ...here.filter((one) => !isFirst(one))];
}

interface World {
  readonly certificate: { readonly certificate: string; readonly key: string };
  use(namespace: string): Promise<void>;
  run(command: DocumentedCommand): Promise<void>;
}

/** A folder with the files that the pages name, and programs of the names that they use. */
async function makeWorld(folder: string, plane: ControlPlane): Promise<World> {
  const binaries = await ensureBinaries(['kubectl', 'helm']);
  const bin = join(folder, 'bin');
  await mkdir(bin);
  const program = async (name: string, line: string) => {
    await writeFile(join(bin, name), `#!/bin/sh\nexec ${line} "$@"\n`);
    await chmod(join(bin, name), 0o755);
  };
  await program('kubectl', binaries.kubectl);
  await program('helm', binaries.helm);
  // As users run it, and a start costs a tenth of what it costs from sources.
  await run(process.execPath, [join(ROOT, 'scripts', 'build.ts'), join(folder, 'build')], { timeoutMs: TIMEOUT_MS });
  for (const name of ['dcred', 'kubectl-dcred']) await program(name, `${process.execPath} ${folder}/build/dcred.js`);
  for (const name of ['charts', 'examples']) await symlink(join(ROOT, name), join(folder, name));
  const now = Math.floor(Date.now() / 1000);
  const certificate = await makeDevCertificate({ dnsNames: ['web.example'], now, lifetimeSeconds: 30 * 86_400 });
  for (const name of ['leaf.crt', 'tls.crt', 'web.crt', 'api.crt', 'leaf-and-chain.pem', 'clients.crt']) {
    await writeFile(join(folder, name), certificate.certificate);
  }
  for (const name of ['leaf.key', 'tls.key', 'web.key', 'api.key'])
    await writeFile(join(folder, name), certificate.key);
  await writeFile(join(folder, 'ca.crt'), certificate.authority);
  const env = {
    ...process.env,
    PATH: `${bin}:${process.env['PATH']}`,
    KUBECONFIG: join(folder, 'kubeconfig'),
    HOME: folder,
  };
  await writeFile(env.KUBECONFIG, await readFile(plane.kubeconfig));
  const shell = async (line: string) =>
    await tryRun('bash', ['-o', 'pipefail', '-c', line], { cwd: folder, env, timeoutMs: TIMEOUT_MS });
  return {
    certificate,
    use: async (namespace) => {
      await shell(`kubectl create namespace ${namespace} --dry-run=client -o yaml | kubectl apply -f -`);
      const { status, stderr } = await shell(`kubectl config set-context --current --namespace ${namespace}`);
      assert.equal(status, 0, stderr);
    },
    run: async ({ text }) => {
      const line = await filledIn(text, shell);
      const undo = preparation(line);
      if (undo !== undefined) await shell(undo);
      let last = '';
      // Retried, because the operator may not be done with an earlier command.
      await eventually(
        `"${line}" to succeed`,
        async () => {
          const { status, stderr, stdout } = await shell(line);
          last = stderr + stdout;
          return status === 0 ? true : undefined;
        },
        { timeoutMs: TIMEOUT_MS, intervalMs: 500 },
      ).catch((error: unknown) => {
        throw new Error(`${String(error)}; it printed:\n${last}`);
      });
    },
  };
}

type Shell = (line: string) => Promise<{ readonly stdout: string }>;

/** Fills in the words in capitals, which a reader replaces with their own. */
async function filledIn(text: string, shell: Shell): Promise<string> {
  if (!/\bSECRET\b/.test(text)) return text.replaceAll(/\bDIR\b/g, 'out');
  const issued = async () => {
    const { stdout } = await shell('kubectl get secrets -l dcred.dev/delegated-credential=web -o name');
    return /secret\/(\S+)/.exec(stdout)?.[1];
  };
  return text.replace('SECRET', await eventually('an issued Secret', issued, { timeoutMs: TIMEOUT_MS }));
}

/** What to undo before a command, because pages create the same objects as earlier pages. */
function preparation(line: string): string | undefined {
  const [namespace = ''] = / (?:-n|--namespace) \S+/.exec(line) ?? [];
  const [, secret] = /^kubectl (?:-n \S+ )?create secret tls (\S+)/.exec(line) ?? [];
  if (secret !== undefined) return `kubectl delete secret ${secret}${namespace} --ignore-not-found`;
  const [, made] = /^kubectl create namespace (\S+)/.exec(line) ?? [];
  if (made !== undefined) return `kubectl delete namespace ${made} --ignore-not-found`;
  const [, release] = /^helm install (\S+)/.exec(line) ?? [];
  return release && `helm uninstall ${release} --ignore-not-found${namespace}`;
}

/** What the pages' examples assume: a certificate, a resource, a pod. */
function edge({ certificate, key }: World['certificate']): object {
  const encode = (text: string) => Buffer.from(text).toString('base64');
  const metadata = (name: string) => ({ name, namespace: 'edge' });
  return {
    apiVersion: 'v1',
    kind: 'List',
    items: [
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: metadata('web-tls'),
        type: 'kubernetes.io/tls',
        data: { 'tls.crt': encode(certificate), 'tls.key': encode(key) },
      },
      {
        apiVersion: 'dcred.dev/v1alpha1',
        kind: 'DelegatedCredential',
        metadata: metadata('web'),
        spec: { certificateRef: { name: 'web-tls' }, podSelector: { matchLabels: { app: 'web' } } },
      },
      {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { ...metadata('web-0'), labels: { app: 'web' } },
        spec: { containers: [{ name: 'main', image: 'localhost/none' }] },
      },
    ],
  };
}
