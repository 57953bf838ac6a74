/** Every manifest of dcred's own kinds in the documentation, and what it shows of the signer's configuration and calls, is what dcred accepts. */
import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { load } from 'js-yaml';
import { KIND, specSchema } from '../../src/api/delegated-credential.ts';
import { GRANT_KIND, grantSpecSchema } from '../../src/api/delegation-grant.ts';
import {
  CLUSTER_ISSUER_KIND,
  clusterIssuerSpecSchema,
  ISSUER_KIND,
  issuerSpecSchema,
} from '../../src/api/delegation-issuer.ts';
import { parseSignerConfig } from '../../src/signer/config.ts';
import { parseFollowCall, parseSignCall, parseWithdrawalsCall } from '../../src/signer/protocol.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const PAGES = ['*.md', 'docs/*.md', 'charts/**/*.md', 'examples/**/*.md'];
const SCHEMAS = {
  [KIND]: specSchema,
  [GRANT_KIND]: grantSpecSchema,
  [ISSUER_KIND]: issuerSpecSchema,
  [CLUSTER_ISSUER_KIND]: clusterIssuerSpecSchema,
} as const;

interface Block {
  readonly page: string;
  readonly text: string;
}

/** Code blocks: what is indented by four spaces or more, without them. */
async function blocks(): Promise<readonly Block[]> {
  const found: Block[] = [];
  for await (const page of glob(PAGES, { cwd: ROOT })) {
    const text = await readFile(join(ROOT, page), 'utf8');
    for (const [block] of text.matchAll(/(?:^ {4}.*\n)+/gm)) {
      const indent = /^ */.exec(block)?.[0] ?? '';
      found.push({ page, text: block.replaceAll(new RegExp(`^${indent}`, 'gm'), '') });
    }
  }
  return found;
}

/** The first field that the schema does not know: a parser drops those silently. */
function unknownField(given: unknown, parsed: unknown, path = 'spec'): string | undefined {
  if (typeof given !== 'object' || given === null) return undefined;
  for (const [key, value] of Object.entries(given)) {
    const kept = (parsed as Readonly<Record<string, unknown>> | undefined)?.[key];
    const found = kept === undefined ? `${path}.${key}` : unknownField(value, kept, `${path}.${key}`);
    if (found !== undefined) return found;
  }
  return undefined;
}

const all = await blocks();

test('two objects in one block are two documents: YAML keeps the last of two equal keys, without a word', () => {
  for (const { page, text } of all) {
    for (const document of text.split(/^(?:---|END|EOF|.*<<.*)$/m)) {
      assert.ok((document.match(/^apiVersion:/gm) ?? []).length <= 1, `${page}: ${document}`);
    }
  }
});

test('manifests', () => {
  const manifests = all.flatMap(({ page, text }) =>
    [...text.matchAll(/^apiVersion: dcred\.dev\/[\s\S]*?(?=^(?:---|END|EOF|apiVersion:|#)|$(?![\s\S]))/gm)].map(
      ([yaml]) => ({
        page,
        yaml,
      }),
    ),
  );
  assert.ok(manifests.length > 5, String(manifests.length));
  for (const { page, yaml } of manifests) {
    const { kind, spec } = load(yaml) as { readonly kind: keyof typeof SCHEMAS; readonly spec?: unknown };
    // Without one, it applies a status only.
    if (spec === undefined) continue;
    const parsed = SCHEMAS[kind].safeParse(spec);
    assert.ok(parsed.success, `${page}: ${kind}: ${parsed.error?.message}`);
    assert.equal(unknownField(spec, parsed.data), undefined, `${page}: ${kind}`);
  }
});

test('configurations of the signer', () => {
  const configurations = all.filter(({ text }) => text.startsWith('clients:\n'));
  assert.ok(configurations.length > 0);
  for (const { text } of configurations) parseSignerConfig(load(text));
});

test('calls of the signer', () => {
  const parsers = {
    '/v1/sign': parseSignCall,
    '/v1/certificates': parseFollowCall,
    '/v1/withdrawals': parseWithdrawalsCall,
  } as const;
  for (const [path, parse] of Object.entries(parsers)) {
    const block = all.find(({ text }) => text.startsWith(`POST ${path}\n`));
    assert.ok(block !== undefined, path);
    const body = block.text.slice(block.text.indexOf('{'));
    parse(body.replace('<base64 DER>', 'AAAA').replaceAll('"..."', `"${'0'.repeat(64)}"`));
  }
});
