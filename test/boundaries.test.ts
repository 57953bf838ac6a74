/** The architecture's import rules, held for the whole of src. */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { describe, test } from 'node:test';

const SRC = resolve(import.meta.dirname, '../src');
const MAX_LINES = 400;

const ENGINE = [
  'kubernetes',
  'kubernetes/connection',
  'kubernetes/client',
  'kubernetes/cache',
  'kubernetes/queue',
  'kubernetes/leader',
  'kubernetes/events',
  'kubernetes/port-forward',
];

/**
 * What each room may import beside itself. A file belongs to the longest name here that its path begins with. A folder
 * that is not here has no rule yet, which is an error.
 */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  credential: ['text'],
  kubernetes: ['text'],
  'kubernetes/index.ts': ENGINE,
  'kubernetes/connection': ['text', 'files', 'kubernetes'],
  'kubernetes/client': ['text', 'kubernetes', 'kubernetes/connection'],
  'kubernetes/cache': ['kubernetes', 'kubernetes/client'],
  'kubernetes/queue': ['kubernetes'],
  'kubernetes/leader': ['text', 'kubernetes', 'kubernetes/client'],
  'kubernetes/events': ['text', 'kubernetes', 'kubernetes/client'],
  'kubernetes/port-forward': ['kubernetes', 'kubernetes/connection', 'kubernetes/client'],
  api: ['text', 'credential'],
  grant: ['api', 'credential'],
  'issued-secret': ['text', 'api', 'credential', 'kubernetes'],
  metrics: ENGINE,
  tracing: ['text', ...ENGINE],
  'operator/core': ['text', 'api', 'credential', 'grant', 'issued-secret', 'kubernetes'],
  // What the operator's rooms share. A room builds on the ones above it.
  operator: ['api', 'credential', 'issued-secret', 'operator/core', ...ENGINE],
  'operator/certificates': [
    'tracing',
    'credential',
    'grant',
    'issued-secret',
    'operator/core',
    'operator',
    'signer-client',
    'signer/protocol.ts',
    ...ENGINE,
  ],
  'operator/reporting': ['metrics', 'api', 'issued-secret', 'operator/core', 'operator', ...ENGINE],
  'operator/shards': ENGINE,
  'operator/grants': [
    'api',
    'grant',
    'issued-secret',
    'operator/core',
    'operator',
    'operator/certificates',
    'operator/reporting',
    ...ENGINE,
  ],
  'operator/pods': [
    'text',
    'tracing',
    'api',
    'credential',
    'issued-secret',
    'operator/core',
    'operator',
    'operator/certificates',
    'operator/reporting',
    'signer-client',
    ...ENGINE,
  ],
  'operator/resources': [
    'api',
    'credential',
    'issued-secret',
    'operator/core',
    'operator',
    'operator/certificates',
    'operator/reporting',
    'operator/grants',
    ...ENGINE,
  ],
  // The wiring.
  'operator/certificate-link.ts': [
    'tracing',
    'operator/core',
    'operator',
    'operator/certificates',
    'operator/grants',
    'signer-client',
    ...ENGINE,
  ],
  'operator/operator-options.ts': [
    'tracing',
    'operator',
    'operator/certificates',
    'operator/reporting',
    'operator/grants',
    'operator/pods',
    'signer-client',
    ...ENGINE,
  ],
  'operator/operator.ts': [
    'tracing',
    'api',
    'credential',
    'issued-secret',
    'operator/core',
    'operator',
    'operator/reporting',
    'operator/shards',
    'operator/grants',
    'operator/pods',
    'operator/resources',
    'operator/certificate-link.ts',
    'operator/operator-options.ts',
    ...ENGINE,
  ],
  serving: ENGINE,
  admission: ['tracing', 'metrics', 'serving', 'admission/injection', 'admission/serving', ...ENGINE],
  'admission/injection': ['text', 'api'],
  'admission/serving': ['text', 'x509', 'tracing', 'api', 'serving', ...ENGINE],
  agent: ['text', 'files', 'api', 'credential', ...ENGINE],
  probe: ['text', 'credential'],
  audit: ['text', 'metrics', 'api', 'issued-secret', 'operator/core', 'probe', 'status', ...ENGINE],
  'audit/report': ['text', 'audit'],
  keys: ['text', 'files', 'credential', 'kubernetes', 'keys/pkcs11', 'keys/awskms', 'keys/hashivault'],
  'keys/pkcs11': ['text', 'credential', 'kubernetes', 'keys'],
  'keys/awskms': ['text', 'credential', 'kubernetes', 'keys'],
  'keys/hashivault': ['text', 'credential', 'kubernetes', 'keys'],
  provision: ['x509', 'credential'],
  'issuer/names.ts': [],
  issuer: ['issuer/names.ts', 'text', 'tracing', 'api', 'credential', 'keys', 'metrics', 'provision', ...ENGINE],
  bundle: ['text', 'api', 'check', 'check/installation.ts', 'status', ...ENGINE],
  'check/installation.ts': ['api', 'check', ...ENGINE],
  check: [
    'check/installation.ts',
    'issuer/names.ts',
    'text',
    'api',
    'credential',
    'issued-secret',
    'operator/core',
    'operator/operator-options.ts',
    'status',
    ...ENGINE,
  ],
  status: ['text', 'api', 'check/installation.ts', 'grant', 'issued-secret', 'operator/core', ...ENGINE],
  signer: [
    'text',
    'files',
    'tracing',
    'serving',
    'api',
    'credential',
    'grant',
    'keys',
    'signer/protocol.ts',
    ...ENGINE,
  ],
  'signer/protocol.ts': ['text', 'credential'],
  'signer-client': ['text', 'tracing', 'credential', 'signer/protocol.ts', ...ENGINE],
  renew: ['text', 'api', 'issued-secret', ...ENGINE],
  // The command line itself; what many commands take; and the commands, which do not import each other's rooms.
  cli: ['text', 'version.ts', 'serving', ...ENGINE],
  'cli/options': [
    'text',
    'tracing',
    'version.ts',
    'api',
    'credential',
    'keys',
    'operator/certificates',
    'operator/operator-options.ts',
    'serving',
    'signer-client',
    'cli',
    ...ENGINE,
  ],
  'cli/services': [
    'text',
    'version.ts',
    'admission',
    'admission/injection',
    'agent',
    'api',
    'credential',
    'issuer',
    'issuer/names.ts',
    'keys',
    'keys/pkcs11',
    'operator',
    'operator/operator.ts',
    'operator/operator-options.ts',
    'operator/pods',
    'operator/reporting',
    'signer',
    'cli',
    'cli/options',
    ...ENGINE,
  ],
  'cli/cluster': [
    'text',
    'version.ts',
    'api',
    'audit',
    'audit/report',
    'bundle',
    'check',
    'renew',
    'status',
    'cli',
    'cli/options',
    ...ENGINE,
  ],
  'cli/credential': ['text', 'credential', 'probe', 'provision', 'signer-client', 'cli', 'cli/options', ...ENGINE],
  'cli/inspect': ['text', 'api', 'credential', 'issued-secret', 'operator/core', 'cli', 'cli/options', ...ENGINE],
  'cli/completion': ['text', 'api', 'cli', 'cli/options', ...ENGINE],
  'cli/commands.ts': ['cli', 'cli/services', 'cli/cluster', 'cli/credential', 'cli/inspect', 'cli/completion'],
  'main.ts': ['cli', 'cli/commands.ts', 'cli/services', 'cli/credential', 'cli/completion', 'keys/pkcs11'],
  text: [],
  x509: [],
  files: [],
  'version.ts': [],
};

/** Imports and re-exports, types included, and dynamic ones. Comments may look like one: they then obey the rule too. */
const SPECIFIER = /(?:\bfrom\s*|\bimport\s*\(?\s*)(['"])(\.[^'"\n]*)\1/g;

function importsOf(text: string): readonly string[] {
  return [...text.matchAll(SPECIFIER)].map(([, , specifier = '']) => specifier);
}

/** The room that a path is in: the longest prefix that has a rule; without one, the top folder (or file) of src. */
function partOf(path: string): string {
  const parts = relative(SRC, path).split(sep);
  for (let length = parts.length; length > 0; length -= 1) {
    const room = parts.slice(0, length).join('/');
    if (MAY_IMPORT[room] !== undefined) return room;
  }
  return parts[0] ?? '';
}

/** A folder of src that no rule names: each new room must say what it may import. */
function folderOf(path: string): string {
  const parts = relative(SRC, path).split(sep);
  return parts.length === 1 ? (parts[0] ?? '') : parts.slice(0, -1).join('/');
}

const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => join(SRC, file));

/** Every import of src, and the rooms at both of its ends. */
const imports = files.flatMap((file) =>
  importsOf(readFileSync(file, 'utf8')).map((specifier) => ({
    text: `${relative(SRC, file)} imports ${specifier}`,
    from: partOf(file),
    to: partOf(resolve(dirname(file), specifier)),
  })),
);

describe('src', () => {
  test('holds the folders that have a rule, and no others', () => {
    const parts = new Set(files.map(folderOf));
    assert.deepEqual(
      [...parts].filter((part) => MAY_IMPORT[part] === undefined),
      [],
    );
  });

  test('exports no name from two files: one name has one meaning', () => {
    const owners = new Map<string, string[]>();
    for (const file of files.filter((one) => !one.endsWith('index.ts'))) {
      const exported = readFileSync(file, 'utf8').matchAll(
        /^export (?:abstract |async )?(?:class|const|function\*?|interface|type) (\w+)/gm,
      );
      for (const name of new Set([...exported].map(([, one = '']) => one)))
        owners.set(name, [...(owners.get(name) ?? []), relative(SRC, file)]);
    }
    assert.ok(owners.size > 1_000, String(owners.size));
    assert.deepEqual(
      [...owners].filter(([, where]) => where.length > 1),
      [],
    );
  });

  for (const part of new Set(files.map(partOf))) {
    const allowed = MAY_IMPORT[part] ?? [];
    test(`${part} imports only the rooms that its rule names`, () => {
      const violations = imports
        .filter(({ from, to }) => from === part && to !== part && !allowed.includes(to))
        .map(({ text }) => text);
      assert.deepEqual(violations, []);
    });
  }

  test('has no rule that allows what nobody imports; only the engine is allowed as a whole', () => {
    const used = new Set(imports.map(({ from, to }) => `${from} ${to}`));
    const idle = Object.entries(MAY_IMPORT)
      .flatMap(([part, rooms]) => rooms.filter((room) => !ENGINE.includes(room)).map((room) => `${part} ${room}`))
      .filter((pair) => !used.has(pair));
    assert.deepEqual(idle, []);
  });

  test(`no file has more than ${MAX_LINES} lines`, () => {
    const long = files
      .map((file) => ({ file: relative(SRC, file), lines: readFileSync(file, 'utf8').split('\n').length }))
      .filter(({ lines }) => lines > MAX_LINES);
    assert.deepEqual(long, []);
  });
});

/** Outside src: which top folders, and inside testing/ which of its rooms, each may import. Only test/ imports test/. */
const TOOLS_MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  'testing/support': ['src', 'testing/support'],
  'testing/keys': [
    'src',
    'testing/keys',
    'testing/vault',
    'testing/controlplane',
    'testing/support',
    'scripts/pkcs11-addon.ts',
  ],
  'testing/certmanager': ['testing/certmanager', 'testing/controlplane', 'testing/support'],
  'testing/vault': ['testing/vault', 'testing/controlplane', 'testing/support'],
  'testing/otlp': ['testing/otlp', 'testing/controlplane', 'testing/support'],
  'testing/controlplane': ['testing/controlplane', 'testing/support'],
  'testing/peers': ['testing/peers', 'testing/support'],
  'testing/cluster': ['src', 'testing/cluster', 'testing/controlplane', 'testing/support'],
  // A node runs the image that is released, made by the release's own code.
  'testing/node': [
    'testing/node',
    'testing/controlplane',
    'testing/support',
    'scripts/app-files.ts',
    'scripts/image.ts',
    'scripts/image-archive.ts',
    'src/bundle/tar.ts',
  ],
  scripts: ['src', 'scripts', 'testing'],
  bench: ['src', 'bench', 'testing'],
};

describe('testing, scripts and bench', () => {
  const root = resolve(SRC, '..');
  const tools = ['testing', 'scripts', 'bench'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => `${folder}/${file.split(sep).join('/')}`),
  );
  const isInside = (path: string, room: string) => path === room || path.startsWith(`${room}/`);
  const roomOf = (path: string) => Object.keys(TOOLS_MAY_IMPORT).find((room) => isInside(path, room));

  test('have a rule for every folder', () => {
    assert.deepEqual(
      tools.filter((file) => roomOf(file) === undefined),
      [],
    );
  });

  test('import only what their rule names: never a test', () => {
    const violations = tools.flatMap((file) =>
      importsOf(readFileSync(join(root, file), 'utf8'))
        .map((specifier) =>
          relative(root, resolve(root, dirname(file), specifier))
            .split(sep)
            .join('/'),
        )
        .filter((target) => !(TOOLS_MAY_IMPORT[roomOf(file) ?? ''] ?? []).some((room) => isInside(target, room)))
        .map((target) => `${file} imports ${target}`),
    );
    assert.deepEqual(violations, []);
  });
});

test('the rule sees every way to import', () => {
  const text = `
    import { a } from './a.ts';
    import type { b } from "../b.ts";
    import './c.ts';
    export { d } from './d.ts';
    export * from '../../e.ts';
    const f = await import('./f.ts');
    import {
      g,
    } from './g.ts';
    import h from 'node:fs';
    type I = import('./i.ts').I;
  `;
  const found = ['./a.ts', '../b.ts', './c.ts', './d.ts', '../../e.ts', './f.ts', './g.ts', './i.ts'];
  assert.deepEqual(importsOf(text), found);
});
