import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { lstat, lutimes, open, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { type MountedVersionError, mountedVersionName, readMountedVersion } from '../../src/agent/mounted-version.ts';
import { emptyMount, type SecretFiles } from './mount.ts';

const NAMES = ['tls.crt', 'dc.key', 'dc.bin', 'dc.hex', 'dc.pem', 'fizz.pem'];
const { signal } = new AbortController();

/** Files whose content is the name of their version. */
const labelled = (label: string, names: readonly string[] = NAMES): SecretFiles =>
  new Map(names.map((name) => [name, label]));

const labelsOf = (files: ReadonlyMap<string, Buffer>) => new Set([...files.values()].map(String));

async function refusal(directory: string): Promise<MountedVersionError> {
  return await readMountedVersion(directory, signal).then(
    () => assert.fail('expected a refusal'),
    (error: unknown) => error as MountedVersionError,
  );
}

describe('a mounted version', () => {
  test('is read whole, with its name and the time of the swap', async (t) => {
    const mount = await emptyMount(t);
    const before = Date.now();
    const name = await mount.put(labelled('first'));
    const version = await readMountedVersion(mount.directory, signal);
    assert.equal(version.name, name);
    assert.deepEqual([...version.files.keys()].sort(), [...NAMES].sort());
    assert.deepEqual(labelsOf(version.files), new Set(['first']));
    // File times are only precise to a clock tick.
    assert.ok(version.placedAtMs >= before - 20 && version.placedAtMs <= Date.now());
  });

  test('has another name after a swap', async (t) => {
    const mount = await emptyMount(t);
    assert.equal(await mountedVersionName(mount.directory), undefined);
    const first = await mount.put(labelled('first'));
    assert.equal(await mountedVersionName(mount.directory), first);
    const second = await mount.put(labelled('second'));
    assert.notEqual(first, second);
    assert.equal(await mountedVersionName(mount.directory), second);
  });

  test('is the first until another one is mounted', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(labelled('first'));
    assert.equal((await readMountedVersion(mount.directory, signal)).isFirst, true);
    await mount.put(labelled('second'));
    assert.equal((await readMountedVersion(mount.directory, signal)).isFirst, false);
  });

  test('is not known to be the first where the link to the certificate is missing', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(labelled('first'));
    await rm(join(mount.directory, 'tls.crt'));
    assert.equal((await readMountedVersion(mount.directory, signal)).isFirst, false);
  });

  test('is not the first after a swap, however the clock was set back in between', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(labelled('first'));
    await mount.put(labelled('second'));
    const { mtimeMs } = await lstat(join(mount.directory, 'tls.crt'));
    const earlier = mtimeMs / 1000 - 3_600;
    await lutimes(join(mount.directory, '..data'), earlier, earlier);
    assert.equal((await readMountedVersion(mount.directory, signal)).isFirst, false);
  });

  test('is never mixed, however often it is swapped while it is read', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(labelled('0'));
    let swapping = true;
    let swaps = 0;
    const swapper = (async () => {
      while (swapping) await mount.put(labelled(String(++swaps)));
    })();
    let read = 0;
    for (let attempt = 0; attempt < 300; attempt += 1) {
      const outcome = await readMountedVersion(mount.directory, signal).catch((error: MountedVersionError) => error);
      if (outcome instanceof Error) {
        assert.equal(outcome.code, 'Unstable', outcome.message);
        continue;
      }
      read += 1;
      assert.equal(outcome.files.size, NAMES.length);
      assert.equal(labelsOf(outcome.files).size, 1);
    }
    swapping = false;
    await swapper;
    t.diagnostic(`${read} versions read during ${swaps} swaps`);
    assert.ok(read > 0 && swaps > 0);
  });

  test('that is swapped in the middle of reading is not the one that is returned', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(labelled('old'));
    let swapped = false;
    const swapping = async (path: string): Promise<Buffer> => {
      const content = await readFile(path);
      if (!swapped && path.endsWith('dc.key')) {
        swapped = true;
        await mount.put(labelled('new'));
      }
      return content;
    };
    const { files } = await readMountedVersion(mount.directory, signal, swapping);
    assert.deepEqual(labelsOf(files), new Set(['new']));
  });

  test('may lack the files of other servers', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(labelled('first', ['tls.crt', 'dc.key', 'dc.bin']));
    assert.equal((await readMountedVersion(mount.directory, signal)).files.size, 3);
  });
});

describe('no mounted version', () => {
  test('where there is no directory', async (t) => {
    const { directory } = await emptyMount(t);
    assert.equal((await refusal(`${directory}-nowhere`)).code, 'NotFound');
  });

  test('where files are mounted one by one: such a mount is never refreshed', async (t) => {
    const { directory } = await emptyMount(t);
    await writeFile(join(directory, 'dc.bin'), '');
    const { code, message } = await refusal(directory);
    assert.equal(code, 'NotAMount');
    assert.match(message, /subPath/);
  });

  for (const missing of ['tls.crt', 'dc.key', 'dc.bin']) {
    test(`without ${missing}`, async (t) => {
      const mount = await emptyMount(t);
      await mount.put(
        labelled(
          'first',
          NAMES.filter((name) => name !== missing),
        ),
      );
      const { code, message } = await refusal(mount.directory);
      assert.equal(code, 'Incomplete');
      assert.match(message, new RegExp(`${missing} is missing`));
    });
  }

  test('with a file that no Secret can hold', async (t) => {
    const mount = await emptyMount(t);
    await mount.put(new Map([...labelled('first'), ['tls.crt', Buffer.alloc(1_048_577)]]));
    assert.equal((await refusal(mount.directory)).code, 'TooLarge');
  });

  test('where a file is a pipe without a writer', async (t) => {
    const mount = await emptyMount(t);
    const name = await mount.put(labelled('first'));
    const path = join(mount.directory, name, 'dc.key');
    await rm(path);
    execFileSync('/usr/bin/mkfifo', [path]);
    assert.match((await refusal(mount.directory)).message, /dc\.key is not a regular file/);
  });

  test('where the directory cannot be searched: who may read it is what is wrong', async (t) => {
    const { directory } = await emptyMount(t);
    const loop = `${directory}-loop`;
    // Root may search every directory; a link to itself nobody can follow.
    await symlink(loop, loop);
    const { code, message } = await refusal(loop);
    assert.equal(code, 'Unreadable');
    assert.match(message, /cannot be read \(ELOOP\)/);
  });

  for (const elsewhere of ['/etc', '../outside', '..', 'plain']) {
    test(`where ..data leads to ${elsewhere}`, async (t) => {
      const { directory } = await emptyMount(t);
      await symlink(elsewhere, join(directory, '..data'));
      assert.match((await refusal(directory)).message, /does not lead to a directory beside it/);
    });
  }

  test('where a file is a link to another', async (t) => {
    const mount = await emptyMount(t);
    const name = await mount.put(labelled('first'));
    const path = join(mount.directory, name, 'dc.key');
    await rm(path);
    await symlink('/etc/hostname', path);
    assert.equal((await refusal(mount.directory)).code, 'Unreadable');
  });

  test('with a file of a terabyte, of which no more is read than counts', async (t) => {
    const mount = await emptyMount(t);
    const name = await mount.put(labelled('first'));
    const path = join(mount.directory, name, 'dc.bin');
    await (await open(path, 'w')).close();
    await truncate(path, 2 ** 40);
    assert.equal((await refusal(mount.directory)).code, 'TooLarge');
  });

  test('whose directory is gone', async (t) => {
    const mount = await emptyMount(t);
    const name = await mount.put(labelled('first'));
    await rm(join(mount.directory, name), { recursive: true });
    assert.equal((await refusal(mount.directory)).code, 'Incomplete');
  });
});
