/**
 * `node scripts/audit-report.ts DIRECTORY`: after a run of tests with DCRED_AUDIT=DIRECTORY, says which of the chart's
 * permissions were not needed, and which requests no permission covers. Exit status 1 where there is any.
 */
import { glob } from 'node:fs/promises';
import { join } from 'node:path';
import { loadAll } from 'js-yaml';
import { type Access, compareAccess, grants, type RbacObject, uses } from '../testing/cluster/access.ts';
import { readAuditLog } from '../testing/controlplane/audit.ts';
import { ensureBinaries } from '../testing/controlplane/binaries.ts';
import { run } from '../testing/support/processes.ts';

/** The ways in which the tests run the operator: what one of them grants must be needed in that one. */
const MODES: readonly (readonly string[])[] = [[], ['--set', 'operator.shards=4']];
const CHART = join(import.meta.dirname, '..', 'charts', 'dcred');

async function main(directory: string): Promise<void> {
  const { helm } = await ensureBinaries(['helm']);
  const granted: Access[] = [];
  for (const mode of MODES) {
    const { stdout } = await run(helm, ['template', 'dcred', CHART, '--namespace', 'dcred-system', ...mode]);
    const objects = (loadAll(stdout) as readonly (RbacObject | null)[]).filter((object) => object !== null);
    granted.push(...grants(objects));
  }
  const used: Access[] = [];
  for await (const name of glob('*.audit.log', { cwd: directory }))
    used.push(...uses(await readAuditLog(join(directory, name))));
  const { ungranted, unused } = compareAccess(granted, used);
  for (const line of ungranted) process.stdout.write(`not granted: ${line}\n`);
  for (const line of unused) process.stdout.write(`not needed: ${line}\n`);
  process.stdout.write(
    `${used.length} requests, ${ungranted.length} not granted, ${unused.length} permissions not needed\n`,
  );
  if (ungranted.length > 0 || unused.length > 0 || used.length === 0) process.exitCode = 1;
}

const [directory] = process.argv.slice(2);
if (directory === undefined) {
  process.stderr.write('usage: node scripts/audit-report.ts DIRECTORY\n');
  process.exitCode = 2;
} else {
  await main(directory);
}
