import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import {
  checkApis,
  checkClock,
  checkVersion,
  FEATURES,
  OLDEST_MINOR,
  REQUIRED_APIS,
} from '../../src/check/features.ts';
import { formatFindings } from '../../src/check/format.ts';

const CHART = join(import.meta.dirname, '..', '..', 'charts', 'dcred', 'Chart.yaml');

function version(minor: string | number, major = '1') {
  return { gitVersion: `v${major}.${minor}.0`, major, minor: String(minor) };
}

describe('the version of the API server', () => {
  test('is good from the oldest version that the chart supports', async () => {
    assert.match(await readFile(CHART, 'utf8'), new RegExp(`^kubeVersion: '>=1\\.${OLDEST_MINOR}\\.0-0'$`, 'm'));
    assert.deepEqual(
      checkVersion(version(OLDEST_MINOR), 'https://a').map(({ level }) => level),
      ['ok', 'ok'],
    );
  });

  test('that is older is a problem, and each feature that it lacks is named', () => {
    const [first, ...features] = checkVersion(version(26), 'https://a');
    assert.equal(first?.level, 'problem');
    assert.match(first?.message ?? '', /dcred needs 1\.31 or newer/);
    assert.deepEqual(
      features.map(({ level }) => level),
      FEATURES.map(() => 'warning'),
    );
    assert.match(features[0]?.message ?? '', /v1\.26\.0 has no scheduling gates \(they come with 1\.27\)/);
  });

  test('lacks exactly the features that came later', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 99 }), (minor) => {
        const lacking = checkVersion(version(minor), 'https://a').filter(({ check, level }) => {
          return check === 'Features' && level === 'warning';
        });
        assert.equal(lacking.length, FEATURES.filter(({ since }) => since > minor).length);
      }),
    );
  });

  test('of a distribution is read too, and anything else than a version of Kubernetes is reported', () => {
    assert.equal(checkVersion(version('33+'), 'https://a')[0]?.level, 'ok');
    for (const odd of [{}, version('x'), version(31, '2'), { major: '1' }]) {
      assert.deepEqual(
        checkVersion(odd, 'https://a').map(({ level }) => level),
        ['warning'],
      );
    }
  });
});

test('an API that is not served is named', () => {
  assert.equal(checkApis(REQUIRED_APIS).level, 'ok');
  for (const missing of REQUIRED_APIS) {
    const finding = checkApis(REQUIRED_APIS.filter((one) => one !== missing));
    assert.equal(finding.level, 'problem');
    assert.ok(finding.message.includes(missing));
  }
});

test('clocks may differ by half a minute; by more than an hour, the reserve of a lifetime, nothing works', () => {
  const levels = [0, 30_000, -30_000, 31_000, -3_600_000, 3_601_000].map((skewMs) => checkClock(skewMs).level);
  assert.deepEqual(levels, ['ok', 'ok', 'ok', 'warning', 'warning', 'problem']);
  assert.match(checkClock(-60_000).message, /60 s behind/);
  assert.match(checkClock(60_000).message, /60 s ahead of/);
  assert.equal(checkClock(undefined).level, 'warning');
});

test('findings as text have what to do below each, and a count', () => {
  const text = formatFindings([...checkVersion(version(28), 'https://a'), checkClock(0)], false);
  assert.match(text, /^problem {2}ApiServer {2}Kubernetes v1\.28\.0 at https:\/\/a; dcred needs/m);
  assert.match(text, /^ {20}-> upgrade the cluster$/m);
  assert.match(text, /^5 checks: 1 problem, 3 warnings$/m);
  assert.ok(!text.includes('\u001b'));
  assert.ok(formatFindings([checkClock(0)], true).includes('\u001b[32mok     \u001b[0m'));
});
