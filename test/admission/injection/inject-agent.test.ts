import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { inject } from '../../../src/admission/injection/inject.ts';
import type { AgentImage } from '../../../src/admission/injection/inject-agent.ts';
import type { AdmittedPod } from '../../../src/admission/injection/pod.ts';
import { RELOAD_ANNOTATION } from '../../../src/api/keys.ts';
import { applyPatch } from '../apply-patch.ts';
import { container, countingBytes, podWith } from '../pods.ts';

const IMAGE: AgentImage = { image: 'registry.example/dcred:1', pullPolicy: 'IfNotPresent' };

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

function injected(pod: AdmittedPod, image: AgentImage | undefined = IMAGE): Injected {
  const { patch, warnings } = inject(pod, countingBytes(), { agentImage: image });
  const result = applyPatch(pod, patch);
  const agents = (result.spec.initContainers ?? []).filter(({ name }) => name === 'dcred-agent');
  return { pod: result, agents: agents as unknown as readonly AgentContainer[], warnings };
}

function reloading(reload: string, spec: Partial<AdmittedPod['spec']> = {}, inject?: string): AdmittedPod {
  const parts = { annotations: { [RELOAD_ANNOTATION]: reload }, spec };
  return podWith(inject === undefined ? parts : { ...parts, inject });
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

  test('hostPID excludes shareProcessNamespace', () => {
    const { pod } = injected(reloading('signal:HUP:nginx', { ...AS_101, hostPID: true }));
    assert.equal(pod.spec.shareProcessNamespace, undefined);
  });

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

  test('a webhook without --agent-image', () => {
    const { patch, warnings } = inject(reloading('signal:HUP:nginx', AS_101), countingBytes());
    assert.ok(!JSON.stringify(patch).includes('dcred-agent'));
    assert.match(warnings.join(), /--agent-image/);
  });
});

test('without the annotation there is no agent', () => {
  assert.equal(injected(podWith()).agents.length, 0);
});
