import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Installed } from '../../src/check/installation.ts';
import { formatTree } from '../../src/status/format.ts';
import { overviews } from '../../src/status/overview.ts';
import { NOW, resource } from '../../testing/support/builders.ts';

const ESCAPE = '\u001b';
const SERVICE = '--signer=https://dcred-signer.dcred-system.svc';

function installed(component: string, change: Partial<Installed> = {}): Installed {
  const namespace = 'dcred-system';
  return {
    namespace,
    name: component === 'operator' ? 'dcred' : `dcred-${component}`,
    component,
    version: undefined,
    image: undefined,
    account: { namespace, name: 'dcred' },
    args: [component],
    replicas: 2,
    available: 2,
    ...change,
  };
}

const silent = {
  type: 'SignerAvailable',
  status: 'False',
  reason: 'SignerUnavailable',
  message: 'the signer at https://dcred-signer.dcred-system.svc does not answer',
  lastTransitionTime: '2027-01-15T08:00:00Z',
} as const;

const wordless = {
  ...silent,
  type: 'Ready',
  message: 'the signer has no answer about certificate vault/web-tls',
} as const;

function tree(
  deployments: readonly Installed[] | undefined,
  conditions: readonly object[] = [],
  colour = false,
): string {
  const status = { conditions: conditions as (typeof silent | typeof wordless)[] };
  const [one] = overviews({
    resources: [resource({ status })],
    pods: [],
    secrets: [],
    now: NOW,
    installed: deployments,
  });
  assert.ok(one);
  return formatTree(one, { now: NOW, colour });
}

const operator = (...args: readonly string[]) => installed('operator', { args: ['operator', ...args] });
const signer = installed('signer');

describe('the row of the signer', () => {
  for (const [what, deployments, conditions, row] of [
    ['none where the operator signs itself', [operator(), signer], [], undefined],
    ['none where Deployments may not be listed and nothing is wrong', undefined, [], undefined],
    ['none where the operator of another namespace uses one', [operator(SERVICE, '-n', 'shop'), signer], [], undefined],
    ['its Deployment', [operator(SERVICE), signer], [], 'dcred-system/dcred-signer, 2 of 2 available'],
    [
      'that it has no answer about this certificate',
      [operator(SERVICE), signer],
      [wordless],
      "dcred-system/dcred-signer, 2 of 2 available; see the signer's log",
    ],
    [
      'that it does not answer, before the certificate is known too',
      [operator(SERVICE), signer],
      [wordless, silent],
      'dcred-system/dcred-signer, 2 of 2 available; does not answer',
    ],
    [
      'its Deployment, of the operator that serves the namespace',
      [
        operator('-n', 'shop'),
        operator('--namespace=edge', '--signer', 'https://dcred-signer.dcred-system.svc.cluster.local:8444'),
        signer,
      ],
      [],
      'dcred-system/dcred-signer, 2 of 2 available',
    ],
    [
      'an address elsewhere',
      [operator('--signer=https://signer.example:8444'), signer],
      [],
      'https://signer.example:8444',
    ],
    ['an address with terminal controls', [operator('--signer=https://a\u001b[2J')], [], 'https://a\\x1b[2J'],
    [
      'one that is silent',
      [operator(SERVICE), signer],
      [silent],
      'dcred-system/dcred-signer, 2 of 2 available; does not answer',
    ],
    ['one that is silent, where nothing else can be seen', undefined, [silent], 'does not answer'],
    [
      'one that has no answer about this certificate, where nothing else can be seen',
      undefined,
      [wordless],
      "see the signer's log",
    ],
  ] as const) {
    test(`is ${what}`, () => {
      const lines = tree(deployments, conditions).split('\n');
      assert.deepEqual(
        lines.filter((line) => line.startsWith('  signer ')),
        row === undefined ? [] : [`  signer       ${row}`],
      );
      assert.ok(row === undefined || row.length + 15 <= 80);
    });
  }

  test('is red where no replica is available', () => {
    const red = `${ESCAPE}[31m  signer `;
    assert.ok(tree([operator(SERVICE), { ...signer, available: 0 }], [], true).includes(red));
    assert.ok(!tree([operator(SERVICE), signer], [], true).includes(red));
  });
});
