/** When traces are exported, and how: by OpenTelemetry's standard environment variables. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readTracingSettings } from '../../src/tracing/environment.ts';

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
const read = (env: Readonly<Record<string, string>>) => readTracingSettings(env, 'dcred-operator');

describe('traces are off', () => {
  for (const [what, env] of Object.entries({
    'where nothing is set': {},
    'where variables are empty': { OTEL_EXPORTER_OTLP_ENDPOINT: '', OTEL_TRACES_EXPORTER: ' ' },
    'where only other things are set': { OTEL_SERVICE_NAME: 'x', OTEL_TRACES_SAMPLER: 'always_on' },
    'where the SDK is disabled': { ...ENDPOINT, OTEL_SDK_DISABLED: 'TRUE' },
    'where the exporter is none': { ...ENDPOINT, OTEL_TRACES_EXPORTER: 'none' },
    'where the exporter is one that dcred does not have': { ...ENDPOINT, OTEL_TRACES_EXPORTER: 'zipkin' },
  }))
    test(what, () => assert.equal(read(env), undefined));
});

describe('traces are on', () => {
  for (const [what, env] of Object.entries({
    'with an endpoint': ENDPOINT,
    'with an endpoint for traces': { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://collector:4318/v1/traces' },
    'with the exporter otlp, to its default endpoint': { OTEL_TRACES_EXPORTER: 'otlp' },
    'where the SDK is not disabled': { ...ENDPOINT, OTEL_SDK_DISABLED: 'false' },
  }))
    test(what, () => assert.deepEqual(read(env)?.warnings, []));
});

test('the service has the name of the process, or the one that is given', () => {
  assert.equal(read(ENDPOINT)?.serviceName, 'dcred-operator');
  assert.equal(read({ ...ENDPOINT, OTEL_SERVICE_NAME: 'edge' })?.serviceName, 'edge');
});

describe('the sampler', () => {
  const sampler = (name: string, argument = '') =>
    read({ ...ENDPOINT, OTEL_TRACES_SAMPLER: name, OTEL_TRACES_SAMPLER_ARG: argument });

  for (const [name, argument, expected] of [
    ['', '', { kind: 'always_on', parentBased: true, ratio: 1 }],
    ['always_off', '', { kind: 'always_off', parentBased: false, ratio: 1 }],
    ['traceidratio', '0.25', { kind: 'traceidratio', parentBased: false, ratio: 0.25 }],
    ['parentbased_traceidratio', '0', { kind: 'traceidratio', parentBased: true, ratio: 0 }],
    ['parentbased_always_on', 'ignored', { kind: 'always_on', parentBased: true, ratio: 1 }],
  ] as const) {
    test(`is ${JSON.stringify(expected)} by "${name}" and "${argument}"`, () => {
      const settings = sampler(name, argument);
      assert.deepEqual(settings?.sampler, expected);
      assert.deepEqual(settings?.warnings, []);
    });
  }

  for (const [name, argument] of [
    ['jaeger_remote', ''],
    ['traceidratio', '2'],
    ['traceidratio', 'half'],
    ['constructor', ''],
  ] as const) {
    test(`is the default, with a warning, for "${name}" and "${argument}"`, () => {
      const settings = sampler(name, argument);
      assert.equal(settings?.sampler.ratio, 1);
      assert.equal(settings?.warnings.length, 1);
    });
  }
});

test('batches are as configured, and an invalid value is named and ignored', () => {
  const settings = read({ ...ENDPOINT, OTEL_BSP_SCHEDULE_DELAY: '100', OTEL_BSP_MAX_QUEUE_SIZE: '-1' });
  assert.deepEqual(settings?.batch, { scheduledDelayMillis: 100 });
  assert.deepEqual(settings?.warnings, ['OTEL_BSP_MAX_QUEUE_SIZE: expected a whole number from 1; found "-1"']);
});

test('a protocol that dcred does not speak is named', () => {
  const settings = read({ ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' });
  assert.match(settings?.warnings[0] ?? '', /expected http\/protobuf.*found "grpc"/);
});
