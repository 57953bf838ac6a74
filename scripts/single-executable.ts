/** dcred as one file for users without Node: Node's own binary with the bundle in it. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bundle } from './build.ts';
import { withNote } from './elf-note.ts';
import { nodeBinary } from './image.ts';

/** Node looks for its script only where this was changed to `:1`. */
const FUSE = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2:';

export class SingleExecutableError extends Error {
  readonly code = 'SingleExecutable';
  override readonly name = 'SingleExecutableError';
}

/** The executable for the Linux and the processor that this runs on. Throws SingleExecutableError, ElfError. */
export async function singleExecutable(version: string): Promise<Buffer> {
  if (process.platform !== 'linux') {
    throw new SingleExecutableError(`expected Linux, found ${process.platform}: the executable is made on Linux only`);
  }
  const node = await nodeBinary();
  const executable = await readFile(node);
  const fuse = executable.indexOf(`${FUSE}0`);
  if (fuse < 0 || executable.indexOf(`${FUSE}0`, fuse + 1) >= 0) {
    throw new SingleExecutableError(`expected one fuse for single executables in ${node}: use a Node that has it`);
  }
  executable.write('1', fuse + FUSE.length);
  return withNote(executable, 'NODE_SEA_BLOB', await blob(node, version));
}

/** The blob that Node makes from the script. */
async function blob(node: string, version: string): Promise<Buffer> {
  const folder = await mkdtemp(join(tmpdir(), 'dcred-executable-'));
  try {
    const { files } = await bundle(version, 'cjs');
    const script = files.find(({ path }) => path.endsWith('.js'));
    if (script === undefined) throw new SingleExecutableError('the bundle has no script');
    const [main, output, config] = ['main.cjs', 'blob', 'config.json'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    await writeFile(main, script.contents);
    await writeFile(config, JSON.stringify({ main, output, disableExperimentalSEAWarning: true }));
    await promisify(execFile)(node, ['--experimental-sea-config', config]);
    return await readFile(output);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
