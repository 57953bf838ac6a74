/**
 * `make demo`: the life of a credential in a minute, on a real control plane that is removed afterwards. Every command that it prints is
 * run as printed (`kubectl` is the one built for the test cluster).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { load } from 'js-yaml';
import { type SignerProcess, startSigner } from '../testing/cluster/signer-process.ts';
import { progressReporter } from '../testing/controlplane/build-progress.ts';
import { type ControlPlane, startControlPlane } from '../testing/controlplane/control-plane.ts';
import { createTestAuthority } from '../testing/support/certificates.ts';
import { endChild, eventually, type Output, tryRun } from '../testing/support/processes.ts';

const ROOT = join(import.meta.dirname, '..');
const BUNDLE = join(ROOT, 'dist', 'dcred.js');
const RELEASE_NAMESPACE = 'dcred-system';
const OPERATOR_USER = `system:serviceaccount:${RELEASE_NAMESPACE}:dcred`;

const GRANT = `apiVersion: dcred.dev/v1alpha1
kind: DelegationGrant
metadata:
  name: web
  namespace: vault
spec:
  certificateRef: {name: web-tls}
  from: [{namespace: edge}]
`;

const MANIFESTS = `apiVersion: dcred.dev/v1alpha1
kind: DelegatedCredential
metadata:
  name: web
spec:
  certificateRef: {name: web-tls, namespace: vault}
  podSelector:
    matchLabels: {app: web}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 3
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
        - {name: web, image: example.com/web}
`;

const paint = (code: string) => (text: string) => (process.stdout.isTTY ? `\u001b[${code}m${text}\u001b[0m` : text);
const bold = paint('1');
const dim = paint('2');

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function title(text: string): void {
  say(`\n${bold(`== ${text}`)}`);
}

/** Prints a command, runs it in the demo's folder, prints its output; a status other than 0 ends the demo. */
async function show(
  plane: ControlPlane,
  folder: string,
  tool: 'kubectl' | 'helm' | 'dcred',
  args: readonly string[],
): Promise<void> {
  say(dim(`$ ${tool} ${args.map(quote).join(' ')}`));
  const output = await runTool(plane, folder, tool, args);
  const text = output.trimEnd();
  if (text !== '') say(text);
}

async function runTool(
  plane: ControlPlane,
  folder: string,
  tool: 'kubectl' | 'helm' | 'dcred',
  args: readonly string[],
): Promise<string> {
  if (tool === 'helm') return (await plane.helm(args)).stdout;
  if (tool === 'kubectl') {
    const asked = plane.kubectl(args.map((word) => inFolder(folder, word)));
    // "kubectl auth can-i" says no by its exit status too.
    if (args[1] === 'can-i')
      return await asked.then(
        ({ stdout }) => stdout,
        ({ stdout }: Output) => stdout,
      );
    return (await asked).stdout;
  }
  const result = await tryRun(process.execPath, [BUNDLE, ...args.map((word) => inFolder(folder, word))]);
  if (result.status !== 0)
    throw new Error(`dcred ended with status ${result.status}: ${result.stderr}${result.stdout}`);
  return result.stdout;
}

/** Files of the demo are named without their folder, as a reader would type them. */
function inFolder(folder: string, word: string): string {
  return word.replace(
    /(^|=)((?:ca|leaf|web|issued|signer)[\w./-]*\.(?:crt|key|yaml|bin|json|jsonl))$/,
    (_all, before, name) => `${before}${join(folder, name)}`,
  );
}

function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word}'`;
}

async function main(): Promise<void> {
  const started = performance.now();
  title('A real Kubernetes control plane: etcd, kube-apiserver, kube-controller-manager');
  await using plane = await startControlPlane({
    controllerManager: true,
    onProgress: progressReporter(process.stdout),
  });
  const { stdout: version } = await plane.kubectl(['version', '-o', 'json']);
  const { serverVersion } = JSON.parse(version) as { serverVersion: { gitVersion: string } };
  say(`Kubernetes ${serverVersion.gitVersion} at ${plane.url}, ready after ${seconds(started)}`);
  const folder = join(plane.directory, 'demo');
  await mkdir(folder);
  const run = (tool: 'kubectl' | 'helm' | 'dcred', ...args: string[]) => show(plane, folder, tool, args);

  title('A certificate with the DelegationUsage extension, and its key in a guarded namespace');
  await run('kubectl', 'create', 'namespace', 'vault');
  await run('kubectl', 'create', 'namespace', 'edge');
  await makeCertificate(folder);
  await run('dcred', 'inspect', 'leaf.crt');
  await run(
    'kubectl',
    'create',
    'secret',
    'tls',
    'web-tls',
    '--namespace',
    'vault',
    '--cert=leaf.crt',
    '--key=leaf.key',
  );

  title('dcred, installed by its chart: an operator for namespace edge, and a signer for the certificate');
  await writeFile(join(folder, 'values.yaml'), VALUES);
  say(VALUES.trimEnd().replaceAll(/^/gm, '  '));
  const install = ['install', 'dcred', 'charts/dcred', '--namespace', RELEASE_NAMESPACE, '--create-namespace'];
  say(dim(`$ helm ${install.join(' ')} --values values.yaml`));
  const [chart, values] = [join(ROOT, 'charts', 'dcred'), join(folder, 'values.yaml')];
  await plane.helm([...install.map((word) => (word === 'charts/dcred' ? chart : word)), '--values', values]);
  await run('kubectl', 'get', 'serviceaccounts,deployments', '--namespace', RELEASE_NAMESPACE, '-o', 'name');
  say(
    "No node runs here, so the chart's own pods stay pending. The same bundle runs beside them instead: two processes with tokens",
  );
  say("of the chart's two service accounts, and with no permission but what the chart granted.");
  await using signer = await runSigner(plane, folder);
  const operator = await startOperator(plane, folder, signer);
  try {
    await story(plane, folder, run);
  } finally {
    const stopping = performance.now();
    await endChild(operator);
    title('The end');
    say(
      `The operator ended with status ${operator.exitCode} ${Math.round(performance.now() - stopping)} ms after SIGTERM.`,
    );
  }
  say(`All of this took ${seconds(started)}. Cleaning up: nothing stays behind.`);
}

type Run = (tool: 'kubectl' | 'helm' | 'dcred', ...args: string[]) => Promise<void>;

const VALUES = `namespaces: [edge]
signer:
  enabled: true
  certificates: [{namespace: vault, names: [web-tls]}]
`;

async function makeCertificate(folder: string): Promise<void> {
  const authority = await createTestAuthority('dcred demo CA');
  const leaf = await authority.issue({ dnsNames: ['web.example'] });
  await writeFile(join(folder, 'ca.crt'), authority.certificatePem);
  await writeFile(join(folder, 'leaf.crt'), leaf.certificatePem);
  await writeFile(join(folder, 'leaf.key'), leaf.keyPem, { mode: 0o600 });
}

async function story(plane: ControlPlane, folder: string, run: Run): Promise<void> {
  title('The certificate is granted to namespace edge, by a user who may write in namespace vault');
  say(GRANT.trimEnd().replaceAll(/^/gm, '  '));
  await writeFile(join(folder, 'web-grant.yaml'), GRANT);
  await writeFile(join(folder, 'web.yaml'), MANIFESTS);
  await run('kubectl', 'apply', '-f', 'web-grant.yaml');
  await run('kubectl', 'config', 'set-context', '--current', '--namespace=edge');

  title('One DelegatedCredential, and a Deployment of three pods');
  say(MANIFESTS.trimEnd().replaceAll(/^/gm, '  '));
  const applied = performance.now();
  await run('kubectl', 'apply', '-f', 'web.yaml');
  await eventually('three pods to be served', async () => {
    const { stdout } = await plane.kubectl(['get', 'dcred', 'web', '-o', 'jsonpath={.status.pods.issued}']);
    return stdout === '3' ? true : undefined;
  });
  await run('kubectl', 'wait', '--for=condition=Ready', 'dcred/web', '--timeout=110s');
  say(`Every pod had its credential, and the status said so, ${seconds(applied)} after kubectl apply.`);
  await run('kubectl', 'get', 'dcred', '-o', 'wide');
  await run('kubectl', 'get', 'secrets');
  say(
    'These are all Secrets of the namespace: there is no certificate key among them. The operator may not read the one in vault:',
  );
  await run('kubectl', 'auth', 'can-i', 'get', 'secret/web-tls', '--namespace', 'vault', `--as=${OPERATOR_USER}`);

  title('What one pod would mount');
  const { stdout: names } = await plane.kubectl([
    'get',
    'secrets',
    '-l',
    'app.kubernetes.io/managed-by=dcred',
    '-o',
    'name',
  ]);
  const name = names.split('\n')[0]?.replace('secret/', '') ?? '';
  await saveSecret(plane, folder, name);
  await run('dcred', 'inspect', 'issued/secret.json');
  await run('dcred', 'verify', '--cert=issued/tls.crt', '--dc=issued/dc.bin', '--key=issued/dc.key', '--ca=ca.crt');

  title('A re-issue: the lifetime is shortened to a minute, and each pod gets another key');
  await run(
    'kubectl',
    'patch',
    'dcred',
    'web',
    '--type=merge',
    '-p',
    '{"spec":{"lifetimeSeconds":60,"renewBeforeSeconds":57}}',
  );
  await untilEvent(plane, 'LifetimeExceeded');
  await run('kubectl', 'get', 'secrets', '-l', 'app.kubernetes.io/managed-by=dcred', '-o', EXPIRIES);
  say('Renewal is due a few seconds after the issue, at another time for each pod. Waiting for the first one ...');
  await untilEvent(plane, 'RenewalDue');
  await run('kubectl', 'get', 'secrets', '-l', 'app.kubernetes.io/managed-by=dcred', '-o', EXPIRIES);
  await run('kubectl', 'get', 'events', '--field-selector=involvedObject.kind=DelegatedCredential', '-o', EVENTS);

  title('The resource is deleted, and its Secrets with it');
  await run('kubectl', 'delete', 'dcred', 'web');
  await eventually('the Secrets to go', async () => {
    const { stdout } = await plane.kubectl([
      'get',
      'secrets',
      '-l',
      'app.kubernetes.io/managed-by=dcred',
      '-o',
      'name',
    ]);
    return stdout === '' ? true : undefined;
  });
  await run('kubectl', 'get', 'secrets');

  title('What the signer signed: one line for each credential, chained so that none can be removed unseen');
  await run('dcred', 'signer', 'verify-log', 'signer/audit.jsonl');
}

const EXPIRIES =
  'custom-columns=NAME:.metadata.name,ISSUED:.metadata.annotations.dcred\\.dev/issued-at,RENEWAL:.metadata.annotations.dcred\\.dev/renew-at,EXPIRY:.metadata.annotations.dcred\\.dev/expires-at';
const EVENTS = 'custom-columns=REASON:.reason,COUNT:.series.count,MESSAGE:.message';

async function saveSecret(plane: ControlPlane, folder: string, name: string): Promise<void> {
  const { stdout } = await plane.kubectl(['get', 'secret', name, '-o', 'json']);
  const { data } = JSON.parse(stdout) as { data: Record<string, string> };
  await mkdir(join(folder, 'issued'));
  await writeFile(join(folder, 'issued', 'secret.json'), stdout, { mode: 0o600 });
  for (const [key, content] of Object.entries(data)) {
    await writeFile(join(folder, 'issued', key), Buffer.from(content, 'base64'), { mode: 0o600 });
  }
}

async function untilEvent(plane: ControlPlane, reason: string): Promise<void> {
  await eventually(
    `an Event ${reason}`,
    async () => {
      const { stdout } = await plane.kubectl(['get', 'events', `--field-selector=reason=${reason}`, '-o', 'name']);
      return stdout === '' ? undefined : true;
    },
    { timeoutMs: 90_000, intervalMs: 200 },
  );
}

/** With the configuration that the chart wrote, on a local address. */
async function runSigner(plane: ControlPlane, folder: string): Promise<SignerProcess> {
  const started = performance.now();
  const { stdout } = await plane.kubectl([
    'get',
    'configmap',
    'dcred-signer',
    '--namespace',
    RELEASE_NAMESPACE,
    '-o',
    'jsonpath={.data.signer\\.yaml}',
  ]);
  say(dim('$ dcred signer --config=signer.yaml --kubeconfig=SIGNERS_SERVICE_ACCOUNT'));
  const kubeconfig = await plane.kubeconfigFor({
    serviceAccount: { namespace: RELEASE_NAMESPACE, name: 'dcred-signer' },
  });
  const directory = join(folder, 'signer');
  const signer = await startSigner({ kubeconfig, config: load(stdout) as object, directory, program: BUNDLE });
  say(`ready ${Math.round(performance.now() - started)} ms after its process was started`);
  return signer;
}

/** Resolves when its caches are filled; its log is shown only if it fails to start. */
async function startOperator(plane: ControlPlane, folder: string, signer: SignerProcess): Promise<ChildProcess> {
  const kubeconfig = await plane.kubeconfigFor({ serviceAccount: { namespace: RELEASE_NAMESPACE, name: 'dcred' } });
  const token = ['create', 'token', 'dcred', '--namespace', RELEASE_NAMESPACE, '--audience=dcred-signer'];
  const tokenFile = join(folder, 'token');
  await writeFile(tokenFile, (await plane.kubectl(token)).stdout, { mode: 0o600 });
  const started = performance.now();
  const args = [
    'operator',
    `--kubeconfig=${kubeconfig}`,
    '--namespace=edge',
    `--signer=${signer.url}`,
    `--signer-ca=${signer.caFile}`,
    `--signer-token=${tokenFile}`,
    '--metrics-bind-address=0',
    '--health-probe-bind-address=0',
  ];
  const env = { ...process.env, POD_NAMESPACE: RELEASE_NAMESPACE };
  say(
    dim(
      `$ dcred operator --namespace=edge --signer=${signer.url} --signer-token=token --kubeconfig=OPERATORS_SERVICE_ACCOUNT`,
    ),
  );
  const child = spawn(process.execPath, [BUNDLE, ...args], { stdio: ['ignore', 'inherit', 'pipe'], env });
  const lines: string[] = [];
  await new Promise<void>((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`the operator ended with status ${code}:\n${lines.join('\n')}`)));
    if (child.stderr === null) throw new TypeError('the operator has no standard error');
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      if (line.includes('"msg":"leading"')) resolve();
    });
  });
  say(`leading ${Math.round(performance.now() - started)} ms after its process was started`);
  return child;
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}

await main();
