/**
 * Bundles `src/main.ts` into `dist/dcred.js`, one file for Node >= 22.19, with its source map, the licences of the packages in it and
 * SBOMs (CycloneDX); and into `dist/app`, the same in several files, of which a command loads what it needs, for the image. The same
 * sources give the same bytes. `node scripts/build.ts FOLDER` writes to another folder.
 */
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { type BuildOptions, build, type Plugin } from 'esbuild';
import { type AppFile, ENTRY } from './app-files.ts';
import { bundledPackages, licences, sbom } from './bundled-packages.ts';

const ROOT = join(import.meta.dirname, '..');
const OUT = join(ROOT, 'dist', 'dcred.js');
/** Beside the bundle, in one variant of the image. */
const PKCS11 = 'node_modules/pkcs11js/index.js';

/**
 * These packages are large, do not declare `sideEffects`, and have none that dcred relies on, so esbuild may drop what is unused.
 * Saves half of the bundle and a tenth of the operator's memory.
 */
const WITHOUT_SIDE_EFFECTS = /^@kubernetes\/client-node|^undici|^@aws-sdk\/client-kms/;

const keepWhatIsUsed: Plugin = {
  name: 'keep-what-is-used',
  setup(setup) {
    setup.onResolve({ filter: /./ }, async ({ path, pluginData, ...options }) => {
      if (pluginData === keepWhatIsUsed.name) return undefined;
      const inside =
        /node_modules\/(@kubernetes\/client-node|undici|@aws-sdk\/client-kms)\//.test(options.resolveDir) &&
        path.startsWith('.');
      if (!inside && !WITHOUT_SIDE_EFFECTS.test(path)) return undefined;
      const result = await setup.resolve(path, { ...options, pluginData: keepWhatIsUsed.name });
      return { ...result, sideEffects: false };
    });
  },
};

/** client-node imports all of undici (fetch, WebSockets, caches) only for these. Saves 4 MB of memory with a kubeconfig. */
const CLIENT_NODES_UNDICI = `
export { default as Agent } from 'undici/lib/dispatcher/agent.js';
export { default as ProxyAgent } from 'undici/lib/dispatcher/proxy-agent.js';
export const { fetch } = globalThis;
`;

const lessOfUndici: Plugin = {
  name: 'less-of-undici',
  setup(setup) {
    setup.onResolve({ filter: /^undici$/ }, ({ importer, path }) =>
      importer.includes('client-node') ? { path, namespace: lessOfUndici.name, sideEffects: false } : undefined,
    );
    setup.onLoad({ filter: /./, namespace: lessOfUndici.name }, () => ({
      contents: CLIENT_NODES_UNDICI,
      resolveDir: ROOT,
    }));
  },
};

/** client-node's generated API client: dcred only takes a kubeconfig's credentials from client-node, and has its own client. */
const lessOfClientNode: Plugin = {
  name: 'less-of-client-node',
  setup(setup) {
    setup.onResolve({ filter: /^\.\/gen\/index\.js$/ }, ({ importer, path }) =>
      importer.includes('client-node') ? { path, namespace: lessOfClientNode.name, sideEffects: false } : undefined,
    );
    setup.onLoad({ filter: /./, namespace: lessOfClientNode.name }, () => ({
      contents: 'export const [createConfiguration, ServerConfiguration] = [];',
    }));
  },
};

/**
 * An import of `node:http` reads everything that it exports. That includes WebSocket, for which Node loads its own copy of undici,
 * with all of fetch. `require` reads nothing before it is used. Saves 11 MB of memory, and a fifth of the time to start.
 */
const requiredHttp: Plugin = {
  name: 'required-http',
  setup(setup) {
    setup.onResolve({ filter: /^(node:)?http$/ }, ({ kind }) =>
      kind === 'import-statement' ? { path: 'node:http', namespace: requiredHttp.name } : undefined,
    );
    setup.onLoad({ filter: /./, namespace: requiredHttp.name }, () => ({
      contents: "module.exports = require('node:http');",
    }));
  },
};

/** HTTP/2 and logging from a thread, neither of which dcred uses. Saves 7 MB of memory: Node's own modules for them. */
const LOADED_WHEN_CALLED = ['undici/lib/dispatcher/client-h2.js', 'pino/lib/transport.js'];

/** Modules that export one function, loaded when it is first called. */
const loadedWhenCalled: Plugin = {
  name: 'loaded-when-called',
  setup(setup) {
    setup.onResolve(
      { filter: /^\.\/(client-h2|transport|lib\/transport)(\.js)?$/ },
      ({ importer, path, resolveDir }) => {
        const target = LOADED_WHEN_CALLED.find((one) =>
          join(resolveDir, path)
            .replace(/(\.js)?$/, '.js')
            .endsWith(join('node_modules', one)),
        );
        if (target === undefined || importer.startsWith(loadedWhenCalled.name)) return undefined;
        return { path: target, namespace: loadedWhenCalled.name };
      },
    );
    setup.onLoad({ filter: /./, namespace: loadedWhenCalled.name }, ({ path }) => ({
      contents: `module.exports = (...args) => require(${JSON.stringify(path)})(...args);`,
      resolveDir: ROOT,
    }));
  },
};

/** Profiles, single sign-on and instance metadata for AWS, which src/keys/awskms/credentials.ts does without. Saves 100 KiB. */
const lessOfAws: Plugin = {
  name: 'less-of-aws',
  setup(setup) {
    setup.onResolve({ filter: /^@aws-sdk\/credential-provider-node$/ }, ({ path }) => ({
      path,
      namespace: lessOfAws.name,
      sideEffects: false,
    }));
    setup.onLoad({ filter: /./, namespace: lessOfAws.name }, () => ({
      contents: 'export const defaultProvider = undefined;',
    }));
  },
};

interface Bundle {
  readonly files: readonly { readonly path: string; readonly contents: Uint8Array }[];
  /** The source files that contribute to the bundle, relative to the project's root. */
  readonly inputs: readonly string[];
}

function optionsFor(version: string, format: 'esm' | 'cjs') {
  return {
    absWorkingDir: ROOT,
    entryPoints: ['src/main.ts'],
    // Paths in the source map are relative to the output: they must not depend on the folder that is written to.
    write: false,
    bundle: true,
    platform: 'node',
    target: 'node22.19',
    format,
    plugins: [requiredHttp, loadedWhenCalled, lessOfUndici, lessOfClientNode, lessOfAws, keepWhatIsUsed],
    // A native add-on, in one variant of the image only; loaded when a pkcs11: key is.
    external: ['pkcs11js'],
    // Node keeps its source in memory, so a smaller file saves memory. Names are kept for readable stack traces.
    minifyWhitespace: true,
    minifySyntax: true,
    // CommonJS dependencies `require` Node's built-in modules.
    banner:
      format === 'cjs'
        ? {}
        : {
            js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);",
          },
    define: {
      DCRED_VERSION: JSON.stringify(version),
      DCRED_COMMIT: JSON.stringify(commit()),
      ...(format === 'cjs' ? { 'import.meta.filename': '__filename', 'import.meta.dirname': '__dirname' } : {}),
    },
    // CommonJS has no import.meta: any other use of it would be undefined there.
    logOverride: { 'empty-import-meta': 'error' },
    // They go into their own file: see licences().
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  } as const satisfies BuildOptions;
}

/** As a module; or as CommonJS, which is all that a single executable takes. */
export async function bundle(version: string, format: 'esm' | 'cjs' = 'esm'): Promise<Bundle> {
  const { metafile, outputFiles } = await build({
    ...optionsFor(version, format),
    outfile: OUT,
    sourcemap: 'linked',
    sourcesContent: true,
  });
  const inputs = Object.entries(metafile.outputs['dist/dcred.js']?.inputs ?? {});
  return {
    files: outputFiles,
    inputs: inputs.flatMap(([path, { bytesInOutput }]) => (bytesInOutput > 0 ? [path] : [])),
  };
}

/**
 * Commands that get their own files, because they run for long or must start fast. One build of all commands would split what they share
 * into a file for each combination of them, 50 for the operator alone: 5 MB and 20 ms of its start.
 */
const PROGRAMS = ['agent', 'issuer', 'operator', 'probe', 'signer', 'webhook'];
/** The folder of the other commands. */
const OTHERS = 'others';
const MAIN = 'main.mjs';

/** Leaves out the commands that are in other folders: ENTRY imports them from there. */
function only(program: string): Plugin {
  return {
    name: 'only',
    setup(setup) {
      setup.onResolve({ filter: /^\.\/cli\// }, ({ importer, kind, path }) => {
        if (kind !== 'dynamic-import' || importer !== join(ROOT, 'src', 'main.ts')) return undefined;
        const name = basename(path, '.ts');
        const isHere = program === OTHERS ? !PROGRAMS.includes(name) : name === program;
        return isHere ? undefined : { path, external: true };
      });
    },
  };
}

/**
 * In several files, ENTRY among them. Node compiles, and keeps in memory, what a command loads: for the operator a third of the one
 * file, for a probe a thirtieth. Named .mjs: without a package.json, Node would parse a .js twice to find out its module type (24 MB and
 * 50 ms). No source map: --enable-source-maps costs 40 MB, and stack traces have readable names and lines.
 */
export async function application(version: string): Promise<readonly AppFile[]> {
  const folders = await Promise.all([...PROGRAMS, OTHERS].map((program) => filesOf(program, version)));
  const choice = `${JSON.stringify(PROGRAMS)}.includes(process.argv[2])?process.argv[2]:${JSON.stringify(OTHERS)}`;
  const entry = { name: ENTRY, contents: Buffer.from(`await import(\`./\${${choice}}/${MAIN}\`);\n`) };
  return [entry, ...folders.flat()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function filesOf(program: string, version: string): Promise<readonly AppFile[]> {
  const options = optionsFor(version, 'esm');
  const { outputFiles } = await build({
    ...options,
    plugins: [only(program), ...options.plugins],
    outdir: join(ROOT, 'dist', 'app', program),
    splitting: true,
    entryNames: basename(MAIN, '.mjs'),
    chunkNames: '[name]-[hash]',
    outExtension: { '.js': '.mjs' },
    define: { ...options.define, DCRED_ENTRY: JSON.stringify(`../${ENTRY}`) },
  });
  return outputFiles.map(({ contents, path }) => ({ name: `${program}/${basename(path)}`, contents }));
}

/** The commit being built: DCRED_COMMIT, else the checkout's HEAD, else `unknown`. */
function commit(): string {
  const { DCRED_COMMIT } = process.env;
  if (DCRED_COMMIT !== undefined && DCRED_COMMIT !== '') return DCRED_COMMIT;
  try {
    return execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], {
      cwd: ROOT,
      encoding: 'utf8',
      stdio: 'pipe',
    }).trim();
  } catch {
    return 'unknown';
  }
}

async function main(folder: string): Promise<void> {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const { files, inputs } = await bundle(version);
  const packages = await bundledPackages(ROOT, inputs);
  await mkdir(folder, { recursive: true });
  for (const { contents, path } of files) await writeFile(join(folder, basename(path)), contents);
  await chmod(join(folder, basename(OUT)), 0o755);
  // Removes an earlier build's files, whose names differ.
  await rm(join(folder, 'app'), { recursive: true, force: true });
  for (const { contents, name } of await application(version)) {
    const path = join(folder, 'app', name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, contents);
  }
  await writeFile(join(folder, 'licenses.txt'), await licences(ROOT, packages));
  const listed = {
    'sbom.cdx.json': packages,
    'sbom-pkcs11.cdx.json': await bundledPackages(ROOT, [...inputs, PKCS11]),
  };
  for (const [name, of] of Object.entries(listed)) {
    await writeFile(join(folder, name), `${JSON.stringify(sbom(version, of), undefined, 2)}\n`);
  }
  const size = files.find(({ path }) => path === OUT)?.contents.length ?? 0;
  process.stdout.write(
    `dist/dcred.js ${version}: ${(size / 1024).toFixed(0)} KiB, ${packages.length} packages in it\n`,
  );
}

if (import.meta.main) await main(resolve(process.argv[2] ?? join(ROOT, 'dist')));
