import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { readDelegatedCredential } from '../../../src/api/read.ts';
import { readDelegationGrant } from '../../../src/api/read-grant.ts';
import type { Referrer } from '../../../src/grant/request.ts';
import { formatObjectKey } from '../../../src/issued-secret/names.ts';
import type { Resource } from '../../../src/operator/caches.ts';
import type { Access } from '../../../src/operator/core/access.ts';
import { ForeignUsers } from '../../../src/operator/grants/foreign-users.ts';
import { grant, resource } from '../../../testing/support/builders.ts';

const NAMESPACES = ['a', 'b', 'c', 'd'] as const;
const NAMES = ['web', 'api'] as const;

/** A replica: the namespaces it serves, its cache, and the calls it made to follow certificates and count pods. */
class Replica {
  readonly served = new Set<string>();
  readonly cache = new Map<string, Resource>();
  readonly followed = new Map<string, Referrer>();
  readonly counted = new Map<string, number>();
  readonly users = new ForeignUsers({
    resources: {
      get: (namespace, name) => this.cache.get(formatObjectKey({ namespace, name })),
      values: () => this.cache.values(),
    },
    serves: (namespace) => this.served.has(namespace),
    certificates: {
      access: ({ spec }) => (spec.certificateRef.name === 'granted' ? GRANTED : REFUSED),
      follow: (key, referrer) => void (referrer ? this.followed.set(key, referrer) : this.followed.delete(key)),
    },
    grants: {
      used: (key, access, pods) =>
        void (access.kind === 'granted' ? this.counted.set(key, pods) : this.counted.delete(key)),
    },
  });

  /** What is followed and counted is what serves a user elsewhere of a certificate here, and nothing of what is served here. */
  check(): void {
    const expected = new Map<string, number>();
    const followed = new Set<string>();
    for (const [key, { namespace, value }] of this.cache) {
      if (!('spec' in value) || this.served.has(namespace)) continue;
      const { name, namespace: owner = namespace } = value.spec.certificateRef;
      if (!this.served.has(owner)) continue;
      followed.add(key);
      if (name === 'granted') expected.set(key, value.status.pods?.issued ?? 0);
    }
    assert.deepEqual(new Set(this.followed.keys()), followed);
    assert.deepEqual(this.counted, expected);
  }
}

const GRANTED = { kind: 'granted', terms: { grant: readDelegationGrant(grant()) } } as unknown as Access;
const REFUSED: Access = { kind: 'refused' };

const read = (namespace: string, name: string, spec: object, issued: number | undefined): Resource => {
  const { metadata, ...object } = resource({});
  const raw = {
    ...object,
    metadata: { ...metadata, namespace, name },
    spec: { ...object.spec, ...spec },
    status: issued === undefined ? {} : { pods: { selected: issued, issued, failed: 0 } },
  };
  return { namespace, name, value: readDelegatedCredential(raw) };
};

describe('users of grants in other shards', () => {
  test('are exactly those that refer to a certificate here, whatever changes', () => {
    const place = fc.constantFrom(...NAMESPACES);
    const name = fc.constantFrom(...NAMES);
    const put = fc.record({
      do: fc.constant('put' as const),
      place,
      name,
      certificate: fc.constantFrom('granted', 'refused'),
      of: fc.option(place, { nil: undefined }),
      issued: fc.option(fc.nat(), { nil: undefined }),
      isBroken: fc.boolean(),
    });
    const remove = fc.record({ do: fc.constant('remove' as const), place, name });
    const serve = fc.record({ do: fc.constant('serve' as const), place, isServed: fc.boolean() });
    fc.assert(
      fc.property(fc.array(fc.oneof(put, put, remove, serve), { maxLength: 40 }), (steps) => {
        const replica = new Replica();
        for (const step of steps) {
          if (step.do === 'serve') {
            // As a resource's own controller does when its namespace is served, and releases it afterwards.
            if (step.isServed) replica.served.add(step.place);
            else replica.served.delete(step.place);
            for (const [key, { namespace }] of replica.cache) {
              if (namespace !== step.place) continue;
              replica.followed.delete(key);
              replica.counted.delete(key);
            }
            replica.users.refresh();
          } else {
            const key = formatObjectKey({ namespace: step.place, name: step.name });
            if (step.do === 'remove') replica.cache.delete(key);
            else {
              const { certificate, isBroken, issued, of } = step;
              const certificateRef = {
                name: isBroken ? 1 : certificate,
                ...(of === undefined ? {} : { namespace: of }),
              };
              replica.cache.set(key, read(step.place, step.name, { certificateRef }, issued));
            }
            replica.users.changed(key);
          }
          replica.check();
        }
      }),
    );
  });

  test('are none of its own: what the resource controller says stays', () => {
    const replica = new Replica();
    replica.served.add('a').add('b');
    const key = formatObjectKey({ namespace: 'b', name: 'web' });
    const one = read('b', 'web', { certificateRef: { name: 'granted', namespace: 'a' } }, 3);
    replica.cache.set(key, one);
    replica.counted.set(key, 7);
    replica.users.changed(key);
    replica.users.refresh();
    assert.equal(replica.counted.get(key), 7);
  });
});
