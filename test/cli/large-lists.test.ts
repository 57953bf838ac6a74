/** A page of a list may be too large to read, because a tenant filled its objects with annotations: no command fails because of that. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { describe, test } from 'node:test';
import { COMPONENT_LABEL } from '../../src/api/keys.ts';
import { collectAudit } from '../../src/audit/collect.ts';
import { findInstalled } from '../../src/check/installation.ts';
import { checkIssuer } from '../../src/check/issuer-check.ts';
import { ApiError } from '../../src/kubernetes/api-error.ts';
import type { ApiClient } from '../../src/kubernetes/client/api-client.ts';
import type { ListSelection } from '../../src/kubernetes/client/api-types.ts';
import type { ResourceType } from '../../src/kubernetes/resource-type.ts';
import { GrantCheck } from '../../src/operator/grants/grant-check.ts';
import { findTargets } from '../../src/renew/request.ts';
import { collect } from '../../src/status/collect.ts';
import { collectEvents } from '../../src/status/events.ts';
import { GrantReader } from '../../src/status/grants.ts';
import { grant, resource, specOf } from '../../testing/support/builders.ts';

const SRC = join(import.meta.dirname, '..', '..', 'src');
const COUNT = 200;
/** Of an answer. */
const READABLE = 3;
const { signal } = new AbortController();

const EVENT = { reportingController: 'dcred.dev/operator' };
const ISSUER = { spec: { ca: { secretName: 'ca' } } };

/** Has two hundred objects of every kind, of which three fit into an answer. */
const client = {
  list: async ({ kind }: ResourceType, { continue: token = '0', limit = Number.POSITIVE_INFINITY }: ListSelection) => {
    const from = Number(token);
    const to = Math.min(COUNT, from + limit);
    if (to - from > READABLE) throw new ApiError('too large to read', { status: 0, reason: 'ResponseTooLarge' });
    const next = to < COUNT ? { continue: String(to) } : {};
    return { metadata: next, items: Array.from({ length: to - from }, (_, index) => objectOf(kind, from + index)) };
  },
  create: async () => ({ status: { allowed: true } }),
  get: async () => ({ metadata: { name: 'edge', uid: 'uid-of-edge' } }),
} as unknown as ApiClient;

function objectOf(kind: string, index: number): object {
  const metadata = {
    namespace: 'edge',
    name: `${kind.toLowerCase()}-${index}`,
    uid: `u-${index}`,
    resourceVersion: '1',
  };
  if (kind === 'Event') return { metadata, ...EVENT };
  if (kind === 'DelegationGrant') return { ...grant(), metadata };
  if (kind.endsWith('DelegationIssuer')) return { metadata, ...ISSUER };
  return { metadata: { ...metadata, labels: { [COMPONENT_LABEL]: 'operator' } }, spec: resource().spec };
}

const crossing = resource({ spec: specOf({ certificateRef: { name: 'other-tls', namespace: 'certs' } }) });
const everywhere = { namespace: undefined, names: undefined, labelSelector: undefined };

describe('too large for one answer, and read whole', () => {
  test('the resources of dcred renew, suspend and resume', async () => {
    assert.equal((await findTargets(client, everywhere, signal)).length, COUNT);
  });

  test("dcred's Deployments", async () => {
    assert.equal((await findInstalled(client, undefined, signal))?.length, COUNT);
  });

  test('resources, pods and Secrets of dcred status and dcred bundle', async () => {
    const { installed, pods, resources } = await collect(client, { ...everywhere, pods: true }, signal);
    assert.deepEqual([resources.length, pods.length, installed?.length], [COUNT, COUNT, COUNT]);
  });

  test('resources and pods of dcred audit', async () => {
    const scope = { namespaces: undefined, names: undefined, labelSelector: undefined };
    const { pods, resources } = await collectAudit(client, scope, signal);
    assert.deepEqual([resources.length, pods.length], [COUNT, COUNT]);
  });

  test('the Events of dcred events', async () => {
    assert.equal(
      (await collectEvents(client, { namespace: undefined, names: undefined, type: undefined }, signal)).length,
      COUNT,
    );
  });

  test('the grants of dcred status', async () => {
    const fact = await new GrantReader(client, [], signal).factOf(crossing);
    assert.notEqual(fact?.kind, 'unseen');
  });

  test('the grants by which the operator decides on a withdrawal', async () => {
    assert.ok(await new GrantCheck(client, false).isWithdrawn(crossing, signal));
  });

  test("the issuers of dcred check, and cert-manager's Deployments", async () => {
    const apis = Promise.resolve(['cert-manager.io/v1']);
    const options = { client, namespace: undefined, installed: [], apis, nowMs: 0, signal };
    const findings = await checkIssuer(options);
    assert.equal(findings.filter(({ check }) => check === 'DelegationIssuer').length, 2 * COUNT);
    const [approval] = findings.filter(({ check }) => check === 'Approval');
    assert.match(approval?.message ?? '', /may approve requests/);
  });
});

/** Where a list is read in one piece, and why nobody but an administrator can make it large. */
const IN_ONE_PIECE: Readonly<Record<string, string>> = {
  'operator/owned-client.ts': 'passes on what its caller selects',
  'operator/pods/restored-secret.ts': 'one Secret at most, by its name',
  'check/webhook-check.ts':
    "webhook configurations, which are cluster-wide, and EndpointSlices of the webhook's own Service",
  'admission/serving/limit-ranges.ts': 'of bounded bytes: one that is larger counts as none',
};

test('every list outside the engine is read in pages, or named here', () => {
  const files = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
    .map((file) => file.replaceAll(sep, '/'))
    .filter((file) => file.endsWith('.ts') && !file.startsWith('kubernetes/'));
  const found = files.filter((file) => /lient\.list[<(]/.test(readFileSync(join(SRC, file), 'utf8')));
  assert.deepEqual(found.sort(), Object.keys(IN_ONE_PIECE).sort());
});
