/** What helm prints after an install works as it is copied from the terminal, in every mode. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { run } from '../../testing/support/processes.ts';
import { CHART, helm, NAMESPACE, SIGNER, type Values } from './chart.ts';

const MODES: Readonly<Record<string, { readonly values: Values; readonly certificateRef: object }>> = {
  'by default': { values: {}, certificateRef: { name: 'web-tls' } },
  'with a signer': {
    values: { namespaces: ['edge'], signer: SIGNER },
    certificateRef: { name: 'web-tls', namespace: 'vault' },
  },
  'where a grant is needed': {
    values: { requireGrant: true },
    certificateRef: { name: 'web-tls', namespace: 'vault' },
  },
};

async function notes(values: Values): Promise<string> {
  const args = ['install', 'dcred', CHART, '--namespace', NAMESPACE, '--dry-run=client', '--values', '-'];
  const { stdout } = await helm(args, JSON.stringify(values));
  return stdout.slice(stdout.indexOf('\nNOTES:\n'));
}

for (const [mode, { certificateRef, values }] of Object.entries(MODES)) {
  test(`the manifest in the notes ends where the shell expects it, and names a certificate that can be used ${mode}`, async () => {
    const text = await notes(values);
    const begin = text.indexOf('apply -f - <<END\n');
    assert.ok(begin > 0, text);
    // The shell's own reading of it, with cat in place of kubectl.
    const pasted = `cat ${text.slice(text.indexOf('<<END\n', begin)).split('\n3. ')[0]}echo ---\n`;
    const { stdout } = await run('bash', ['-c', pasted]);
    const [manifest = '', rest] = stdout.split('---\n');
    assert.equal(rest, '', 'nothing is left of the text');
    const { spec } = load(manifest) as { readonly spec: { readonly certificateRef: object } };
    assert.deepEqual(spec.certificateRef, certificateRef);
  });
}
