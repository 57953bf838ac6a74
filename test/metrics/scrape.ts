/** Reads what Prometheus would read. */

import assert from 'node:assert/strict';
import type { Registry } from 'prom-client';

/** Series and their values, read as strictly as the text format (version 0.0.4) is written. */
export async function scrape({ registry }: { readonly registry: Registry }): Promise<ReadonlyMap<string, number>> {
  const text = await registry.metrics();
  assert.ok(text.endsWith('\n'));
  const series = new Map<string, number>();
  const typed = new Set<string>();
  for (const line of text.split('\n').filter((one) => one !== '')) {
    const comment = /^# (HELP|TYPE) ([a-z_:][a-z0-9_:]*) (\S.*)$/.exec(line);
    if (comment !== null) {
      if (comment[1] === 'TYPE') typed.add(comment[2] ?? '');
      continue;
    }
    const sample = /^([a-z_:][a-z0-9_:]*)(\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})? (\S+)$/.exec(line);
    assert.ok(sample !== null, `not a sample: ${line}`);
    const [, name = '', labels = '', value = ''] = sample;
    assert.ok(typed.has(name.replace(/_(bucket|sum|count)$/, '')) || typed.has(name), `no type for ${name}`);
    assert.ok(!Number.isNaN(Number(value.replace('+Inf', 'Infinity'))), line);
    assert.ok(!series.has(name + labels), `twice: ${name}${labels}`);
    series.set(name + labels, Number(value));
  }
  return series;
}
