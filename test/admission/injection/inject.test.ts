import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { inject } from '../../../src/admission/injection/inject.ts';
import type { AdmittedPod, Container, Volume, VolumeMount } from '../../../src/admission/injection/pod.ts';
import { freshSecretName } from '../../../src/admission/injection/secret-name.ts';
import { isResourceName } from '../../../src/api/injection.ts';
import { mountPath, secretNameAnnotation, volumeName } from '../../../src/api/keys.ts';
import { isSecretName } from '../../../src/issued-secret/names.ts';
import { readPod } from '../../../src/operator/core/pod.ts';
import { applyPatch } from '../apply-patch.ts';
import { container, countingBytes, podWith, sameBytes } from '../pods.ts';

interface Injected {
  readonly pod: AdmittedPod;
  readonly warnings: readonly string[];
}

function injected(pod: AdmittedPod, random = countingBytes()): Injected {
  const { patch, warnings } = inject(pod, random);
  return { pod: applyPatch(pod, patch), warnings };
}

function volumesOf({ spec }: AdmittedPod, name: string): readonly Volume[] {
  return (spec.volumes ?? []).filter((volume) => volume.name === name);
}

function secretNameOf(pod: AdmittedPod, resource: string): unknown {
  const [volume] = volumesOf(pod, volumeName(resource));
  return (volume?.['secret'] as { secretName?: unknown } | undefined)?.secretName;
}

function mountsOf({ spec }: AdmittedPod, name: string): readonly VolumeMount[] {
  const all = [...(spec.initContainers ?? []), ...(spec.containers ?? [])];
  return all.find((one) => one.name === name)?.volumeMounts ?? [];
}

const WEB_MOUNT = { name: 'dcred-web', mountPath: '/var/run/secrets/dcred.dev/web', readOnly: true };

describe('a pod with the label', () => {
  test('gets a Secret name, the same in annotation and volume, and the mount of the contract', () => {
    const { pod, warnings } = injected(podWith());
    const name = pod.metadata.annotations?.['secret.dcred.dev/web'] ?? '';
    assert.match(name, /^web-[a-z2-7]{26}$/);
    assert.deepEqual(pod.spec.volumes, [
      { name: 'dcred-web', secret: { secretName: name, defaultMode: 0o444, optional: false } },
    ]);
    assert.deepEqual(mountsOf(pod, 'main'), [WEB_MOUNT]);
    assert.deepEqual(warnings, []);
  });

  test('keeps everything else that it has', () => {
    const volumes: readonly Volume[] = [{ name: 'tmp', emptyDir: {} }];
    const mount = { name: 'tmp', mountPath: '/tmp' };
    const before = podWith({
      annotations: { note: 'kept' },
      spec: { volumes, containers: [container('main', { volumeMounts: [mount] })] },
    });
    const { pod } = injected(before);
    assert.equal(pod.metadata.annotations?.['note'], 'kept');
    assert.deepEqual(pod.spec.volumes?.[0], volumes[0]);
    assert.deepEqual(mountsOf(pod, 'main'), [mount, WEB_MOUNT]);
  });

  test('gets the mount in init containers too', () => {
    const spec = { initContainers: [container('setup')], containers: [container('a'), container('b')] };
    const { pod } = injected(podWith({ spec }));
    for (const name of ['setup', 'a', 'b']) assert.deepEqual(mountsOf(pod, name), [WEB_MOUNT]);
  });

  test('gets files readable by its group only, where it has one', () => {
    const { pod } = injected(podWith({ spec: { securityContext: { fsGroup: 2000 } } }));
    const [volume] = volumesOf(pod, 'dcred-web');
    assert.deepEqual(volume?.['secret'], { secretName: secretNameOf(pod, 'web'), defaultMode: 0o440, optional: false });
  });

  test('may request several resources by the annotation', () => {
    const { pod } = injected(podWith({ annotations: { 'dcred.dev/inject': 'api, admin,web' } }));
    assert.deepEqual(
      (pod.spec.volumes ?? []).map(({ name }) => name),
      ['dcred-web', 'dcred-api', 'dcred-admin'],
    );
    assert.equal(new Set(['web', 'api', 'admin'].map((name) => secretNameOf(pod, name))).size, 3);
    assert.equal(mountsOf(pod, 'main').length, 3);
  });

  test('may name the containers to mount into', () => {
    const spec = { initContainers: [container('setup')], containers: [container('a'), container('b')] };
    const { pod, warnings } = injected(podWith({ annotations: { 'dcred.dev/containers': 'a, setup' }, spec }));
    assert.deepEqual(mountsOf(pod, 'a'), [WEB_MOUNT]);
    assert.deepEqual(mountsOf(pod, 'setup'), [WEB_MOUNT]);
    assert.deepEqual(mountsOf(pod, 'b'), []);
    assert.deepEqual(warnings, []);
  });

  test('gets a warning for a container that it does not have', () => {
    const { warnings } = injected(podWith({ annotations: { 'dcred.dev/containers': 'mian' } }));
    assert.match(
      warnings.join(),
      /dcred\.dev\/containers names "mian", which is not a container of this pod: correct it/,
    );
  });
});

describe('with gates', () => {
  const gated = (pod: AdmittedPod) => applyPatch(pod, inject(pod, countingBytes(), { gatePods: true }).patch);
  const GATE = { name: 'gate.dcred.dev/web' };

  test('a pod waits for each of its Secrets, and an annotation mirrors each gate', () => {
    const pod = gated(podWith({ annotations: { 'dcred.dev/inject': 'api' } }));
    assert.deepEqual(pod.spec.schedulingGates, [GATE, { name: 'gate.dcred.dev/api' }]);
    const read = readPod({ metadata: { labels: {}, annotations: pod.metadata.annotations ?? {} } });
    assert.deepEqual(read.gated, ['api', 'web']);
  });

  test("other controllers' gates stay", () => {
    const pod = gated(podWith({ spec: { schedulingGates: [{ name: 'theirs' }] } }));
    assert.deepEqual(pod.spec.schedulingGates, [{ name: 'theirs' }, GATE]);
  });

  test('a second call changes no gate', () => {
    const once = gated(podWith());
    assert.deepEqual(gated(once).spec.schedulingGates, [GATE]);
  });

  test('a copied pod does not wait for what it does not request', () => {
    const copied = podWith({ inject: 'api', spec: { schedulingGates: [GATE] } });
    assert.deepEqual(gated(copied).spec.schedulingGates, [{ name: 'gate.dcred.dev/api' }]);
    assert.deepEqual(injected(copied).pod.spec.schedulingGates, []);
  });

  test('a pod with a nodeName gets none: the API server would refuse it', () => {
    const pod = gated(podWith({ spec: { nodeName: 'node' } }));
    assert.equal(pod.spec.schedulingGates, undefined);
    assert.ok(secretNameOf(pod, 'web'));
  });

  test('a pod without a valid name waits for nothing', () => {
    assert.equal(gated(podWith({ inject: 'Wrong.Name' })).spec.schedulingGates, undefined);
  });
});

describe('a pod is not changed', () => {
  for (const [what, pod] of Object.entries<AdmittedPod>({
    'without the label': { metadata: {}, spec: { containers: [container('main')] } },
    'without the label, though it has the annotation': {
      metadata: { annotations: { 'dcred.dev/inject': 'web' } },
      spec: { containers: [container('main')] },
    },
    'with an empty label': podWith({ inject: '' }),
    'that is a mirror pod': podWith({ annotations: { 'kubernetes.io/config.mirror': 'hash' } }),
  })) {
    test(what, () => assert.deepEqual(inject(pod, sameBytes).patch, []));
  }

  for (const name of ['web.example', 'Web', 'web_1', 'x'.repeat(41), '-web']) {
    test(`with a warning that says what to do, when the label is ${name}`, () => {
      const { patch, warnings } = inject(podWith({ inject: name }), sameBytes);
      assert.deepEqual(patch, []);
      assert.match(
        warnings.join(),
        /which cannot be the name of a DelegatedCredential .* correct it and re-create the pod/,
      );
    });
  }

  test('for invalid names only: valid names beside them are injected', () => {
    const { pod, warnings } = injected(podWith({ inject: 'a.b', annotations: { 'dcred.dev/inject': 'web' } }));
    assert.ok(secretNameOf(pod, 'web'));
    assert.equal(pod.spec.volumes?.length, 1);
    assert.equal(warnings.length, 1);
  });

  test('beyond sixteen resources, with a warning', () => {
    const many = Array.from({ length: 5_000 }, (_, index) => `r${index}`).join(',');
    const { pod, warnings } = injected(podWith({ annotations: { 'dcred.dev/inject': many } }));
    assert.equal(pod.spec.volumes?.length, 16);
    assert.match(warnings.join(), /only the first 2048 are read: name at most 16 resources/);
  });
});

describe('names in a template are not trusted', () => {
  test('a forged annotation is overwritten', () => {
    const { pod } = injected(podWith({ annotations: { 'secret.dcred.dev/web': 'web-of-someone-else' } }));
    assert.match(pod.metadata.annotations?.['secret.dcred.dev/web'] ?? '', /^web-[a-z2-7]{26}$/);
  });

  test('a copy of a running pod gets its own name', () => {
    const random = countingBytes();
    const first = injected(podWith(), random).pod;
    const { pod: copy, warnings } = injected(first, random);
    assert.notEqual(secretNameOf(copy, 'web'), secretNameOf(first, 'web'));
    assert.equal(copy.metadata.annotations?.['secret.dcred.dev/web'], secretNameOf(copy, 'web'));
    assert.equal(volumesOf(copy, 'dcred-web').length, 1);
    assert.deepEqual(mountsOf(copy, 'main'), [WEB_MOUNT]);
    assert.deepEqual(warnings, []);
  });

  test('a sidecar that another webhook has added since gets its mounts in the second call', () => {
    const random = countingBytes();
    const first = injected(podWith(), random).pod;
    const withSidecar = {
      ...first,
      spec: { ...first.spec, containers: [container('proxy'), ...(first.spec.containers ?? [])] },
    };
    const { pod } = injected(withSidecar, random);
    assert.deepEqual(mountsOf(pod, 'proxy'), [WEB_MOUNT]);
    assert.deepEqual(mountsOf(pod, 'main'), [WEB_MOUNT]);
  });

  test('a volume of another kind with the same name is kept: the resource is not injected, with a warning', () => {
    const spec = { volumes: [{ name: 'dcred-web', persistentVolumeClaim: { claimName: 'disk' } }] };
    const before = podWith({ spec, annotations: { 'dcred.dev/inject': 'api' } });
    const { pod, warnings } = injected(before);
    assert.deepEqual(volumesOf(pod, 'dcred-web'), spec.volumes);
    assert.ok(secretNameOf(pod, 'api'));
    assert.match(warnings.join(), /"web" is not injected, because the pod has a volume "dcred-web": rename it/);
  });

  for (const path of [
    '/var/run/secrets/dcred.dev/web',
    '/var/run/secrets/dcred.dev/web/',
    '/var/run/secrets/./dcred.dev//web',
  ]) {
    test(`a mount at ${path} is replaced, with a warning`, () => {
      const volumeMounts = [{ name: 'tmp', mountPath: path }];
      const { pod, warnings } = injected(podWith({ spec: { containers: [container('main', { volumeMounts })] } }));
      assert.deepEqual(mountsOf(pod, 'main'), [WEB_MOUNT]);
      assert.match(
        warnings.join(),
        /container "main": the mount at \/var\/run\/secrets\/dcred.dev\/web was replaced: mount yours elsewhere/,
      );
    });
  }

  for (const [what, source, isReadOnly] of [
    ['a Secret', { secret: { secretName: 'own' } }, true],
    ['a CSI volume that is read-only', { csi: { driver: 'files.example', readOnly: true } }, true],
    ['a claim that is read-only', { persistentVolumeClaim: { claimName: 'disk', readOnly: true } }, true],
    ['a share that is read-only', { nfs: { server: 'files.example', path: '/', readOnly: true } }, true],
    ['a CSI volume', { csi: { driver: 'files.example', readOnly: false } }, false],
    ['a claim', { persistentVolumeClaim: { claimName: 'disk' } }, false],
    ['a volume without a source', { csi: null }, false],
  ] as const) {
    test(`within ${what}, the mount is ${isReadOnly ? 'left out: the runtime cannot create it' : 'made'}`, () => {
      const volumeMounts = [{ name: 'parent', mountPath: '/var/run/secrets' }];
      const volumes = [{ name: 'parent', ...source }];
      const spec = { volumes, containers: [container('main', { volumeMounts })] };
      const { pod, warnings } = injected(podWith({ spec }));
      assert.deepEqual(mountsOf(pod, 'main'), isReadOnly ? volumeMounts : [...volumeMounts, WEB_MOUNT]);
      assert.match(warnings.join(), isReadOnly ? /"\/var\/run\/secrets" is mounted read-only.*move that mount/ : /^$/);
    });
  }

  test('a mount by subPath, which is never refreshed, is removed, with a warning', () => {
    const part = { name: 'dcred-web', mountPath: '/etc/dc.bin', subPath: 'dc.bin' };
    const whole = { name: 'dcred-web', mountPath: '/etc/dc' };
    const { pod, warnings } = injected(
      podWith({ spec: { containers: [container('main', { volumeMounts: [part, whole] })] } }),
    );
    assert.deepEqual(mountsOf(pod, 'main'), [whole, WEB_MOUNT]);
    assert.match(warnings.join(), /subPath was removed.*mount the whole volume/);
  });

  test('a block device at the path is kept: the API server would refuse two of them', () => {
    const volumeDevices = [{ devicePath: '/var/run/secrets/dcred.dev/web' }];
    const { pod, warnings } = injected(podWith({ spec: { containers: [container('main', { volumeDevices })] } }));
    assert.deepEqual(mountsOf(pod, 'main'), []);
    assert.match(warnings.join(), /a block device is at .*: move the device/);
  });
});

describe('a name', () => {
  test('is a valid Secret name, however long the resource name', () => {
    const name = freshSecretName('x'.repeat(40), countingBytes());
    assert.ok(isSecretName(name));
    assert.equal(name.length, 67);
  });

  test('uses every bit that it is given: 26 characters of five bits', () => {
    const name = freshSecretName('web', (size) => Uint8Array.from({ length: size }, (_, index) => index + 224));
    assert.equal(name, 'web-abcdefghijklmnopqrstuvwxyz');
    assert.equal(
      freshSecretName('web', (size) => new Uint8Array(size).fill(31)),
      `web-${'7'.repeat(26)}`,
    );
  });
});

const RESOURCES = ['web', 'api', 'a-b'];
const volume = fc.record({
  name: fc.constantFrom('tmp', 'data', ...RESOURCES.map(volumeName)),
  source: fc.constantFrom('emptyDir', 'secret', 'configMap'),
});
const mount: fc.Arbitrary<VolumeMount> = fc.record(
  {
    name: fc.constantFrom('tmp', ...RESOURCES.map(volumeName)),
    mountPath: fc.constantFrom('/tmp', '/data', ...RESOURCES.map(mountPath), `${mountPath('web')}/`),
    readOnly: fc.boolean(),
    subPath: fc.constantFrom('', 'dc.bin'),
  },
  { requiredKeys: ['name', 'mountPath'] },
);
const anyContainer = (name: string): fc.Arbitrary<Container> =>
  fc.record(
    { name: fc.constant(name), volumeMounts: fc.option(fc.array(mount, { maxLength: 4 })) },
    { requiredKeys: ['name'] },
  );
const anyPod: fc.Arbitrary<AdmittedPod> = fc.record({
  metadata: fc.record(
    {
      labels: fc.record({ 'dcred.dev/inject': fc.constantFrom(...RESOURCES, 'No.Name', '') }),
      annotations: fc.option(
        fc.dictionary(
          fc.constantFrom(
            'note',
            'a/b~c',
            'dcred.dev/inject',
            'dcred.dev/containers',
            ...RESOURCES.map(secretNameAnnotation),
          ),
          fc.oneof(fc.constantFrom('web,api', 'a-b', 'main', 'side', ''), fc.string()),
        ),
      ),
    },
    { requiredKeys: [] },
  ),
  spec: fc.record(
    {
      volumes: fc.option(
        fc.array(
          volume.map(({ name, source }): Volume => ({ name, [source]: {} })),
          { maxLength: 5 },
        ),
      ),
      containers: fc.tuple(anyContainer('main'), anyContainer('side')).map((all) => [...all]),
      initContainers: fc.option(fc.tuple(anyContainer('setup')).map((all) => [...all])),
    },
    { requiredKeys: ['containers'] },
  ),
});

/** The resources that the operator reads from the pod, except where a volume of another kind has the name. */
function requestedBy(pod: AdmittedPod): readonly string[] {
  const { annotations, labels } = pod.metadata;
  return readPod({ metadata: { labels: labels ?? {}, annotations: annotations ?? {} } }).injected.filter(
    (name) =>
      isResourceName(name) && volumesOf(pod, volumeName(name)).every((volume) => volume['secret'] !== undefined),
  );
}

describe('whatever the pod', () => {
  test('there is one volume and one name for every requested resource, and the two agree', () => {
    fc.assert(
      fc.property(anyPod, (before) => {
        const { pod } = injected(before);
        for (const resource of requestedBy(before)) {
          assert.equal(volumesOf(pod, volumeName(resource)).length, 1);
          const name = pod.metadata.annotations?.[secretNameAnnotation(resource)];
          assert.equal(secretNameOf(pod, resource), name);
          assert.ok(isSecretName(name ?? ''));
          assert.notEqual(name, before.metadata.annotations?.[secretNameAnnotation(resource)]);
        }
      }),
    );
  });

  test('no path gets a second mount, no mount that dcred adds has a subPath, and foreign volumes stay', () => {
    fc.assert(
      fc.property(anyPod, (before) => {
        const { pod } = injected(before);
        const own = new Set(requestedBy(before).map(volumeName));
        for (const name of ['main', 'side', 'setup']) {
          const mounts = mountsOf(pod, name);
          for (const resource of requestedBy(before)) {
            const there = mounts.filter(({ mountPath: path }) => path.replace(/\/$/, '') === mountPath(resource));
            assert.ok(there.length <= 1 || there.every((one) => !own.has(one.name)), JSON.stringify(there));
          }
          assert.ok(mounts.every((one) => !own.has(one.name) || !one.subPath));
        }
        const foreign = (one: AdmittedPod) => (one.spec.volumes ?? []).filter((each) => !own.has(each.name));
        assert.deepEqual(foreign(pod), foreign(before));
      }),
    );
  });

  test('a second call changes the names only; with the same names, nothing', () => {
    fc.assert(
      fc.property(anyPod, (before) => {
        const once = injected(before, sameBytes).pod;
        assert.deepEqual(inject(once, sameBytes).patch, []);
        const again = injected(once, countingBytes()).pod;
        const strip = (pod: AdmittedPod) =>
          JSON.stringify(pod, (key, value) => (key === 'volumes' ? undefined : value)).replaceAll(
            /-[a-z2-7]{26}"/g,
            '"',
          );
        assert.equal(strip(again), strip(once));
      }),
    );
  });

  test('a pod without the label comes back without a patch', () => {
    fc.assert(
      fc.property(anyPod, (pod) => {
        const unlabelled = { ...pod, metadata: { ...pod.metadata, labels: { app: 'x' } } };
        assert.deepEqual(inject(unlabelled, sameBytes), { patch: [], warnings: [], injected: [] });
      }),
    );
  });
});
