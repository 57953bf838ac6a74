import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readDeployment } from '../../src/check/installation.ts';
import { checkOperatorAccess } from '../../src/check/operator-check.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';

const signal = new AbortController().signal;

/** A Deployment that is labelled as dcred's operator, and an API server that permits everything and counts what it is asked. */
async function access(args: readonly string[]) {
  const metadata = { namespace: 'tenant', name: 'mine', labels: { 'app.kubernetes.io/component': 'operator' } };
  const operator = readDeployment({ metadata, spec: { template: { spec: { containers: [{ args }] } } } });
  const asked = { calls: 0, atOnce: 0, most: 0 };
  const client = {
    create: async () => {
      asked.calls += 1;
      asked.atOnce += 1;
      asked.most = Math.max(asked.most, asked.atOnce);
      await new Promise((resolve) => setImmediate(resolve));
      asked.atOnce -= 1;
      return { status: { allowed: true } };
    },
  } as unknown as ApiClient;
  const findings = await checkOperatorAccess(client, operator, { gatesPods: true }, signal);
  return { asked, findings, namespaces: findings.filter(({ message }) => / in namespace n/.test(message)).length };
}

const inNamespaces = (count: number) => Array.from({ length: count }, (_, index) => `--namespace=n${index}`);

test('every namespace that an operator is to serve is checked, each once, and a few at a time', async () => {
  const { asked, findings, namespaces } = await access([...inNamespaces(60), ...inNamespaces(60)]);
  assert.equal(namespaces, 60);
  assert.ok(findings.every(({ level }) => level === 'ok'));
  assert.ok(asked.most < 500, `${asked.most} calls at once`);
});

test('a Deployment with a hundred thousand namespaces costs no more calls than one with a few hundred, and this is said', async () => {
  const [honest, hostile] = [await access(inNamespaces(256)), await access(inNamespaces(100_000))];
  assert.equal(hostile.asked.calls, honest.asked.calls);
  assert.deepEqual(
    hostile.findings
      .filter(({ level }) => level !== 'ok')
      .map(({ level, message }) => [level, /serves more than 256 namespaces/.test(message)]),
    [['warning', true]],
  );
  assert.deepEqual(
    honest.findings.filter(({ level }) => level !== 'ok'),
    [],
  );
});
