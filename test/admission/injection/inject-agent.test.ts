import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { AgentTemplate } from '../../../src/admission/injection/agent-container.ts';
import { inject } from '../../../src/admission/injection/inject.ts';
import type { AdmittedPod, NodeSelectorTerm } from '../../../src/admission/injection/pod.ts';
import { RELOAD_ANNOTATION } from '../../../src/api/keys.ts';
import { formatReload, parseReload } from '../../../src/api/reload-spec.ts';
import { applyPatch } from '../apply-patch.ts';
import { container, countingBytes, podWith } from '../pods.ts';

const IMAGE: AgentTemplate = { image: 'registry.example/dcred:1', pullPolicy: 'IfNotPresent' };

interface AgentContainer {
  readonly name: string;
  readonly image: string;
  readonly restartPolicy: string;
  readonly args: readonly string[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string; readonly readOnly: boolean }[];
  readonly securityContext: { readonly runAsUser?: number; readonly runAsNonRoot: boolean };
}

interface Injected {
  readonly pod: AdmittedPod;
  readonly agents: readonly AgentContainer[];
  readonly warnings: readonly string[];
}

function injected(pod: AdmittedPod, image: AgentTemplate | undefined = IMAGE): Injected {
  const { patch, warnings } = inject(pod, countingBytes(), { agent: image });
  const result = applyPatch(pod, patch);
  const agents = (result.spec.initContainers ?? []).filter(({ name }) => name === 'dcred-agent');
  return { pod: result, agents: agents as unknown as readonly AgentContainer[], warnings };
}

function reloading(reload: string, spec: Partial<AdmittedPod['spec']> = {}, inject?: string): AdmittedPod {
  const parts = { annotations: { [RELOAD_ANNOTATION]: reload }, spec };
  return podWith(inject === undefined ? parts : { ...parts, inject });
}

/**
 * What a kubelet starts a container with, where X is set and nothing else. Kubernetes' reference on `args`: "Variable references
 * $(VAR_NAME) are expanded using the container's environment. If a variable cannot be resolved, the reference in the input string
 * will be unchanged. Double $$ are reduced to a single $, which allows for escaping the $(VAR_NAME) syntax: i.e. "$$(VAR_NAME)"
 * will produce the string literal "$(VAR_NAME)". Escaped references will never be expanded [...]."
 */
function asExpanded(argument: string): string {
  return argument.replaceAll(/\$(?:\$|\(([^)]*)\))/g, (found, name: string | undefined) => {
    if (name === undefined) return '$';
    return name === 'X' ? 'expanded' : found;
  });
}

const AS_101 = { containers: [container('nginx', { securityContext: { runAsUser: 101 } })] };

describe('a pod with dcred.dev/reload', () => {
  test('gets the agent as a native sidecar, with the same mounts, as the same user, in one process namespace', () => {
    const { agents, pod, warnings } = injected(reloading('signal:HUP:nginx', AS_101));
    const [agent] = agents;
    assert.equal(agents.length, 1);
    assert.equal(agent?.image, IMAGE.image);
    assert.equal(agent.restartPolicy, 'Always');
    assert.deepEqual(agent.args, ['agent', '--dir=/var/run/secrets/dcred.dev/web', '--reload=signal:HUP:nginx']);
    assert.deepEqual(agent.volumeMounts, [
      { name: 'dcred-web', mountPath: '/var/run/secrets/dcred.dev/web', readOnly: true },
    ]);
    assert.deepEqual([agent.securityContext.runAsUser, agent.securityContext.runAsNonRoot], [101, true]);
    assert.equal(pod.spec.shareProcessNamespace, true);
    assert.deepEqual(warnings, []);
  });

  test('several resources are several directories, several lines several reloads', () => {
    const both = reloading('signal:HUP:nginx\n  http:POST:http://127.0.0.1:8080/reload\n', AS_101);
    const annotations = { ...both.metadata.annotations, 'dcred.dev/inject': 'web,clients' };
    const { agents } = injected({ ...both, metadata: { ...both.metadata, annotations } });
    assert.deepEqual(agents[0]?.args, [
      'agent',
      '--dir=/var/run/secrets/dcred.dev/web',
      '--dir=/var/run/secrets/dcred.dev/clients',
      '--reload=signal:HUP:nginx',
      '--reload=http:POST:http://127.0.0.1:8080/reload',
    ]);
  });

  describe('with a dollar sign in a reload', () => {
    const argumentOf = (reload: string) => {
      const [agent] = injected(reloading(reload)).agents;
      return agent?.args.find((argument) => argument.startsWith('--reload=')) ?? '';
    };

    for (const reload of [
      'exec:["/bin/reload","$$","$(X)","$$(X)","$$$(X)","$","$X","$("]',
      'http:POST:http://127.0.0.1:8080/$$/$(X)?$$$$(X)',
    ]) {
      test(`passes ${reload} to the agent as it is`, () => {
        assert.equal(asExpanded(argumentOf(reload)), `--reload=${formatReload(parseReload(reload))}`);
      });
    }

    test('passes any reload to the agent as it is', () => {
      const word = fc.string({ unit: fc.constantFrom('$', '$$', '(', ')', 'X', '$(X)', 'a') });
      fc.assert(
        fc.property(fc.array(word, { maxLength: 5 }), (words) => {
          const spec = { kind: 'exec', command: ['/bin/reload', ...words] } as const;
          const argument = asExpanded(argumentOf(formatReload(spec)));
          assert.deepEqual(parseReload(argument.slice('--reload='.length)), spec);
        }),
      );
    });

    test('a second call leaves the arguments as they are', () => {
      const once = injected(reloading('http:POST:http://127.0.0.1:8080/$$/$(X)')).pod;
      assert.deepEqual(injected(once).pod, once);
    });
  });

  test("the pod's user counts where no container sets one", () => {
    const { agents } = injected(reloading('signal:HUP:nginx', { securityContext: { runAsUser: 1000 } }));
    assert.equal(agents[0]?.securityContext.runAsUser, 1000);
  });

  test('a server that runs as root gets an agent that runs as root', () => {
    const { agents } = injected(reloading('signal:HUP:nginx', { securityContext: { runAsUser: 0 } }));
    assert.deepEqual([agents[0]?.securityContext.runAsUser, agents[0]?.securityContext.runAsNonRoot], [0, false]);
  });

  test('an unknown user is a warning that says what to set', () => {
    const { agents, warnings } = injected(reloading('signal:HUP:nginx'));
    assert.equal(agents.length, 1);
    assert.match(warnings.join(), /set securityContext\.runAsUser/);
  });

  test('a request needs no shared processes and no user', () => {
    const { agents, pod, warnings } = injected(reloading('http:POST:http://127.0.0.1:8080/reload'));
    assert.equal(agents[0]?.securityContext.runAsUser, undefined);
    assert.equal(pod.spec.shareProcessNamespace, undefined);
    assert.deepEqual(warnings, []);
  });

  for (const reload of ['signal:HUP:pid:/run/nginx.pid', 'http:POST:http://127.0.0.1:8080/reload']) {
    test(`a pod with hostPID gets it for ${reload}, and no shareProcessNamespace, which hostPID excludes`, () => {
      const { agents, pod, warnings } = injected(reloading(reload, { ...AS_101, hostPID: true }));
      assert.equal(agents.length, 1);
      assert.equal(pod.spec.shareProcessNamespace, undefined);
      assert.deepEqual(warnings, []);
    });
  }

  test('its own init containers stay, in order and with their mounts', () => {
    const { pod } = injected(
      reloading('signal:HUP:nginx', { ...AS_101, initContainers: [container('first'), container('second')] }),
    );
    assert.deepEqual(
      pod.spec.initContainers?.map(({ name }) => name),
      ['first', 'second', 'dcred-agent'],
    );
    for (const one of pod.spec.initContainers ?? []) assert.equal(one.volumeMounts?.length, 1, one.name);
  });

  test('a second call adds no second agent', () => {
    const once = injected(reloading('signal:HUP:nginx', AS_101)).pod;
    const twice = injected(once);
    assert.equal(twice.agents.length, 1);
    assert.equal(twice.agents[0]?.volumeMounts.length, 1);
  });
});

describe("the agent's user", () => {
  const as = (name: string, user?: number) =>
    container(name, user === undefined ? {} : { securityContext: { runAsUser: user } });
  const userOf = (spec: Partial<AdmittedPod['spec']>, annotations: Record<string, string> = {}) => {
    const pod = reloading('signal:HUP:nginx', spec);
    const { agents, warnings } = injected({
      ...pod,
      metadata: { ...pod.metadata, annotations: { ...pod.metadata.annotations, ...annotations } },
    });
    return { user: agents[0]?.securityContext.runAsUser, warnings: warnings.join() };
  };

  test('is that of the container named as the process, not of a proxy beside it', () => {
    const { user, warnings } = userOf({ containers: [as('mesh-proxy', 1337), as('nginx', 101)] });
    assert.deepEqual([user, warnings], [101, '']);
  });

  test("is the pod's where that container sets none", () => {
    const { user, warnings } = userOf({
      securityContext: { runAsUser: 101 },
      containers: [as('nginx'), as('mesh-proxy', 1337)],
    });
    assert.deepEqual([user, warnings], [101, '']);
  });

  test('is that of the containers in dcred.dev/containers where none is named as the process', () => {
    const spec = { containers: [as('mesh-proxy', 1337), as('web', 101)] };
    assert.equal(userOf(spec, { 'dcred.dev/containers': 'web' }).user, 101);
  });

  test('is ambiguous where containers disagree: a warning says to name one', () => {
    const { warnings } = userOf({ containers: [as('mesh-proxy', 1337), as('web', 101)] });
    assert.match(
      warnings,
      /different users \("mesh-proxy" as 1337, "web" as 101\).*container in dcred\.dev\/containers/,
    );
  });

  test("is the image's own where the pod runs as root and no process is signalled", () => {
    const pod = reloading('http:POST:http://127.0.0.1/', { securityContext: { runAsUser: 0 } });
    const [agent] = injected(pod).agents;
    assert.deepEqual([agent?.securityContext.runAsUser, agent?.securityContext.runAsNonRoot], [65_532, true]);
  });
});

describe('an agent that is already there', () => {
  const once = injected(reloading('signal:HUP:nginx', AS_101)).pod;
  const changed = (change: object): AdmittedPod => {
    const initContainers = (once.spec.initContainers ?? []).map((one) => ({ ...one, ...change }));
    return { ...once, spec: { ...once.spec, initContainers } };
  };

  for (const change of [
    { image: 'mirror.example/dcred:1' },
    { resources: { limits: { cpu: '500m', memory: '1Gi' } } },
    { env: [{ name: 'HTTP_PROXY', value: 'http://proxy.example' }] },
    { terminationMessagePath: '/dev/termination-log' },
    { securityContext: { runAsUser: 7 } },
    { readinessProbe: null },
  ]) {
    test(`keeps its ${Object.keys(change).join()}`, () => {
      const { pod } = injected(changed(change));
      assert.deepEqual(pod.spec.initContainers, changed(change).spec.initContainers);
    });
  }

  test('gets the mounts of a resource that was added, and other arguments stay', () => {
    const more = changed({ args: ['agent', '--dir=/old', '--log-level=debug'] });
    const annotations = { ...more.metadata.annotations, 'dcred.dev/inject': 'web,api' };
    const [agent] = injected({ ...more, metadata: { ...more.metadata, annotations } }).agents;
    assert.deepEqual(agent?.args, [
      'agent',
      '--dir=/var/run/secrets/dcred.dev/web',
      '--dir=/var/run/secrets/dcred.dev/api',
      '--reload=signal:HUP:nginx',
      '--log-level=debug',
    ]);
    assert.deepEqual(
      agent.volumeMounts.map(({ name }) => name),
      ['dcred-web', 'dcred-api'],
    );
  });
});

describe('resources', () => {
  const resourcesOf = (annotations: Record<string, string>) => {
    const pod = reloading('http:POST:http://127.0.0.1/');
    const { agents } = injected({
      ...pod,
      metadata: { ...pod.metadata, annotations: { ...pod.metadata.annotations, ...annotations } },
    });
    return (agents[0] as { readonly resources?: unknown } | undefined)?.resources;
  };

  test('are none in a BestEffort pod, unless it asks for them', () => {
    assert.deepEqual(resourcesOf({}), { requests: {}, limits: {} });
    const own = { 'dcred.dev/agent-resources': 'limits.memory=128Mi' };
    assert.deepEqual(resourcesOf(own), { requests: {}, limits: { memory: '134217728' } });
  });
});

describe('probes and ports', () => {
  const probesOf = (spec: Partial<AdmittedPod['spec']>, template: Partial<AgentTemplate> = {}) => {
    const { agents, pod } = injected(reloading('http:POST:http://127.0.0.1/', spec), { ...IMAGE, ...template });
    const agent = agents[0] as unknown as Readonly<Record<string, unknown>>;
    const volumes = pod.spec.volumes?.map(({ name }) => name);
    return { ports: agent['ports'], readiness: JSON.stringify(agent['readinessProbe']), args: agent['args'], volumes };
  };

  test('are HTTP on a fixed port', () => {
    const { ports, readiness } = probesOf({});
    assert.deepEqual(ports, [{ name: 'dcred-agent', containerPort: 9345 }]);
    assert.match(readiness, /httpGet.*readyz/);
  });

  for (const [what, spec] of Object.entries<Partial<AdmittedPod['spec']>>({
    'in the network of the node, which two such pods share': { hostNetwork: true },
    'where another container has the port': { containers: [container('main', { ports: [{ containerPort: 9345 }] })] },
  })) {
    test(`are commands, and no port is used, ${what}`, () => {
      const { args, ports, readiness, volumes } = probesOf(spec);
      assert.equal(ports, undefined);
      assert.match(readiness, /"exec".*--check/);
      assert.ok((args as string[]).includes('--bind-address=0'));
      assert.deepEqual(volumes, ['dcred-web', 'status-of-dcred-agent']);
    });
  }

  test('are commands where the webhook says so; metrics keep their port', () => {
    const { ports, readiness } = probesOf({}, { probes: 'exec' });
    assert.deepEqual(ports, [{ name: 'dcred-agent', containerPort: 9345 }]);
    assert.match(readiness, /"exec"/);
  });

  test('pull secrets are added beside those of the pod', () => {
    const { pod } = injected(reloading('http:POST:http://127.0.0.1/', { imagePullSecrets: [{ name: 'own' }] }), {
      ...IMAGE,
      pullSecrets: ['registry', 'own'],
    });
    assert.deepEqual(pod.spec.imagePullSecrets, [{ name: 'own' }, { name: 'registry' }]);
  });
});

test('a warning says that shared processes defeat narrowing to some containers', () => {
  const pod = reloading('signal:HUP:nginx', { containers: [container('nginx'), container('other')] });
  const annotations = { ...pod.metadata.annotations, 'dcred.dev/containers': 'nginx' };
  const { warnings } = injected({ ...pod, metadata: { ...pod.metadata, annotations } });
  assert.match(warnings.join(), /dcred\.dev\/containers does not keep the key from the other containers/);
});

const ofSystem = (operator: string, ...values: readonly string[]) => [{ key: 'kubernetes.io/os', operator, values }];
const WINDOWS = ofSystem('In', 'windows');
const DISK = [{ key: 'disk', operator: 'Exists' }];

/** Affinity to nodes that meet all expressions of one of these lists. */
function onNodes(...lists: readonly Required<NodeSelectorTerm>['matchExpressions'][]) {
  const nodeSelectorTerms = lists.map((matchExpressions) => ({ matchExpressions }));
  return { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms } } };
}

describe('no agent, and a warning that says why, for', () => {
  const wrong: Readonly<Record<string, readonly [string, RegExp]>> = {
    'a signal that terminates processes': ['signal:KILL:nginx', /expected one of the signals HUP/],
    'an unknown kind': ['restart', /expected signal:HUP:nginx, exec:/],
    'an empty value': [' ', /it is empty: write how the server reloads/],
    'one valid line and one invalid': ['signal:HUP:nginx\nbad', /expected signal/],
  };
  for (const [what, [reload, message]] of Object.entries(wrong)) {
    test(what, () => {
      const { agents, pod, warnings } = injected(reloading(reload, AS_101));
      assert.equal(agents.length, 0);
      assert.match(warnings.join(), message);
      assert.equal(pod.spec.volumes?.length, 1, 'the credential is still mounted');
    });
  }

  for (const [what, spec, message] of [
    ['a Windows pod, by os.name', { os: { name: 'windows' } }, /runs on Linux only/],
    ['a Windows pod, by node selector', { nodeSelector: { 'kubernetes.io/os': 'windows' } }, /runs on Linux only/],
    [
      'a Windows pod, by the older label of nodes',
      { nodeSelector: { 'beta.kubernetes.io/os': 'windows' } },
      /runs on Linux only/,
    ],
    ['a Windows pod, by node affinity', { affinity: onNodes(WINDOWS, [...WINDOWS, ...DISK]) }, /runs on Linux only/],
    ['a Windows pod, by options', { securityContext: { windowsOptions: { hostProcess: true } } }, /runs on Linux only/],
    [
      'a Windows pod, by options of a container',
      { containers: [container('nginx', { securityContext: { windowsOptions: { runAsUserName: 'web' } } })] },
      /runs on Linux only/,
    ],
    ['a pod that forbids shared processes', { shareProcessNamespace: false }, /sets shareProcessNamespace: false/],
    ['a pod that sees the processes of its node', { hostPID: true }, /every process of that name on the node/],
    ['a container of the same name', { containers: [container('dcred-agent')] }, /a container is named "dcred-agent"/],
  ] as const) {
    test(what, () => {
      const { agents, pod, warnings } = injected(reloading('signal:HUP:nginx', { ...AS_101, ...spec }));
      assert.equal(agents.filter(({ restartPolicy }) => restartPolicy === 'Always').length, 0);
      assert.equal(pod.spec.shareProcessNamespace, 'shareProcessNamespace' in spec ? false : undefined);
      assert.match(warnings.join(), message);
    });
  }

  for (const [what, spec] of [
    ['that may run on other nodes too', { affinity: onNodes(WINDOWS, DISK) }],
    ['that may run on either', { affinity: onNodes(ofSystem('In', 'windows', 'linux')) }],
    ['that never runs there', { affinity: onNodes(ofSystem('NotIn', 'windows')) }],
    [
      'that says linux',
      { os: { name: 'linux' }, securityContext: { runAsUser: 1, windowsOptions: { hostProcess: true } } },
    ],
    ['with no options of Windows', { securityContext: { runAsUser: 1, windowsOptions: {} } }],
    ['with affinity to nothing', { affinity: onNodes() }],
  ] as const) {
    test(`but not for a pod ${what}`, () => {
      assert.equal(injected(reloading('signal:HUP:nginx', { ...AS_101, ...spec })).agents.length, 1);
    });
  }

  test('a webhook without --agent-image', () => {
    const { patch, warnings } = inject(reloading('signal:HUP:nginx', AS_101), countingBytes());
    assert.ok(!JSON.stringify(patch).includes('dcred-agent'));
    assert.match(warnings.join(), /--agent-image/);
  });
});

test('without the annotation there is no agent', () => {
  assert.equal(injected(podWith()).agents.length, 0);
});
