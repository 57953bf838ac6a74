/** When traces are exported, and how: by OpenTelemetry's standard environment variables. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { readTracingEnvironment } from '../../src/tracing/environment.ts';

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
const read = (env: Readonly<Record<string, string>>) => readTracingEnvironment(env, 'dcred-operator');

describe('traces are off', () => {
  for (const [what, env] of Object.entries({
    'where nothing is set': {},
    'where variables are empty': { OTEL_EXPORTER_OTLP_ENDPOINT: '', OTEL_TRACES_EXPORTER: ' ' },
    'where only other things are set': { OTEL_SERVICE_NAME: 'x', OTEL_TRACES_SAMPLER: 'always_on' },
    'where the SDK is disabled': { ...ENDPOINT, OTEL_SDK_DISABLED: 'TRUE' },
    'where the exporter is none': { ...ENDPOINT, OTEL_TRACES_EXPORTER: 'none' },
    'where the exporter is one that dcred does not have': { ...ENDPOINT, OTEL_TRACES_EXPORTER: 'zipkin' },
  }))
    test(what, () => assert.equal(read(env).settings, undefined));
});

describe('traces are on', () => {
  for (const [what, env] of Object.entries({
    'with an endpoint': ENDPOINT,
    'with an endpoint for traces': { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://collector:4318/v1/traces' },
    'with the exporter otlp, to its default endpoint': { OTEL_TRACES_EXPORTER: 'otlp' },
    'where the SDK is not disabled': { ...ENDPOINT, OTEL_SDK_DISABLED: 'false' },
  }))
    test(what, () => {
      const { settings, warnings } = read(env);
      assert.notEqual(settings, undefined);
      assert.deepEqual(warnings, []);
    });
});

test('the service has the name of the process, or the one that is given', () => {
  assert.equal(read(ENDPOINT).settings?.serviceName, 'dcred-operator');
  assert.equal(read({ ...ENDPOINT, OTEL_SERVICE_NAME: 'edge' }).settings?.serviceName, 'edge');
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
      const { settings, warnings } = sampler(name, argument);
      assert.deepEqual(settings?.sampler, expected);
      assert.deepEqual(warnings, []);
    });
  }

  for (const [name, argument] of [
    ['jaeger_remote', ''],
    ['traceidratio', '2'],
    ['traceidratio', 'half'],
    ['constructor', ''],
  ] as const) {
    test(`is the default, with a warning, for "${name}" and "${argument}"`, () => {
      const { settings, warnings } = sampler(name, argument);
      assert.equal(settings?.sampler.ratio, 1);
      assert.equal(warnings.length, 1);
    });
  }
});

test('batches are as configured, and an invalid value is named and ignored', () => {
  const { settings, warnings } = read({ ...ENDPOINT, OTEL_BSP_SCHEDULE_DELAY: '100', OTEL_BSP_MAX_QUEUE_SIZE: '-1' });
  assert.deepEqual(settings?.batch, { scheduledDelayMillis: 100 });
  assert.deepEqual(warnings, ['OTEL_BSP_MAX_QUEUE_SIZE: expected a whole number from 1; found "-1"']);
});

test('a protocol that dcred does not speak is named', () => {
  const { warnings } = read({ ...ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' });
  assert.match(warnings[0] ?? '', /expected http\/protobuf.*found "grpc"/);
});

test('an endpoint that is no URL is named, and not shown: a password may be in it', () => {
  for (const name of ['OTEL_EXPORTER_OTLP_ENDPOINT', 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT']) {
    for (const value of [
      'me:SECRET@collector:4318',
      'collector:4318',
      '//collector',
      'http://',
      'grpc://SECRET@host',
    ]) {
      const { settings, warnings } = read({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318', [name]: value });
      assert.equal(settings, undefined);
      const message = `${name}: expected a URL such as http://collector:4318; found another value, and exports nothing`;
      assert.deepEqual(warnings, [message]);
    }
  }
});

test('an exporter that dcred does not have is named, also where nothing is exported', () => {
  const { warnings } = read({ ...ENDPOINT, OTEL_TRACES_EXPORTER: 'zipkin' });
  assert.deepEqual(warnings, ['OTEL_TRACES_EXPORTER: expected otlp or none; found "zipkin"']);
});
