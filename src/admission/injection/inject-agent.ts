/**
 * The reload agent: the annotation `dcred.dev/reload` says how the server reloads, and the pod gets a native sidecar (an init
 * container with restartPolicy Always) from dcred's image that triggers it after each re-issue. Pure.
 *
 * The API server may call twice, with other admission plugins in between: they give the agent resources, another image, an
 * environment. So an agent that is there keeps every field; only arguments, mounts and a missing user are brought up to date.
 */
import { AGENT_RESOURCES_ANNOTATION, CONTAINERS_ANNOTATION, mountPath, RELOAD_ANNOTATION } from '../../api/keys.ts';
import { formatReload, parseReloads, type ReloadSpec, ReloadSpecError } from '../../api/reload-spec.ts';
import {
  AGENT_NAME,
  type AgentParts,
  type AgentTemplate,
  agentContainer,
  isAgent,
  type Probes,
  probesFor,
  STATUS_VOLUME,
  userWithoutSignals,
  withoutAgent,
} from './agent-container.ts';
import {
  AgentResourcesError,
  agentResources,
  DEFAULT_RESOURCES,
  parseAgentResources,
  resourcesFor,
} from './agent-resources.ts';
import { serverUser } from './agent-user.ts';
import { type JsonPatch, pointer } from './json-patch.ts';
import type { LimitRangeItem } from './limit-range.ts';
import { mountsPatch } from './mounts.ts';
import { isForWindows } from './operating-system.ts';
import { type AdmittedPod, type Container, containersOf, type PodSpec } from './pod.ts';

export interface AgentInjection {
  readonly patch: JsonPatch;
  readonly warnings: readonly string[];
}

export interface AgentContext {
  /** Names of the injected resources, each with its volume. */
  readonly resourceNames: readonly string[];
  /** Undefined: pods that request an agent get a warning. */
  readonly template: AgentTemplate | undefined;
  /** Names in `dcred.dev/containers`; undefined: all. */
  readonly narrowed: ReadonlySet<string> | undefined;
  /** Of the LimitRanges of the pod's namespace. */
  readonly limitRanges: readonly LimitRangeItem[];
}

/** Whether the pod requests an agent, so that its namespace's LimitRanges matter. */
export function requestsAgent({ metadata }: Pick<AdmittedPod, 'metadata'>): boolean {
  return metadata.annotations?.[RELOAD_ANNOTATION] !== undefined;
}

export function injectAgent(admitted: AdmittedPod, context: AgentContext): AgentInjection {
  const text = admitted.metadata.annotations?.[RELOAD_ANNOTATION];
  if (text === undefined) return { patch: [], warnings: [] };
  const { limitRanges, narrowed, resourceNames, template } = context;
  const pod = withoutAgent(admitted);
  const reloads = readReloads(text);
  const problem = reasonAgainst(pod, reloads, template);
  if (problem !== undefined || typeof reloads === 'string' || template === undefined) return none(problem ?? '');
  const { problem: badResources, resources: configured } = configuredResources(pod, template);
  const resources = agentResources(pod, configured, limitRanges);
  const present = (admitted.spec.initContainers ?? []).findIndex(isAgent);
  if (typeof resources === 'string' && present === -1)
    return none(`no agent is added, because ${resources}: change the resources, or let the server watch its files`);
  const signals = reloads.some(({ kind }) => kind === 'signal');
  const server = signals ? serverUser(pod, reloads, narrowed) : undefined;
  const user = signals ? server?.user : userWithoutSignals(pod.spec);
  const args = argumentsFor(resourceNames, reloads);
  const probes = probesFor(pod.spec, template);
  const patch =
    present === -1
      ? addAgent(admitted.spec, agentContainer({ args, probes, resourceNames, resources, template, user }), probes)
      : updateAgent(admitted.spec.initContainers ?? [], present, { args, resourceNames, user });
  return {
    patch: [...patch, ...pullSecrets(admitted.spec, template), ...(signals ? sharedProcesses(pod.spec) : [])],
    warnings: [
      ...(badResources === undefined ? [] : [badResources]),
      ...(signals ? signalWarnings(pod, server, narrowed) : []),
    ].map((warning) => `dcred.dev: ${warning}`),
  };
}

function none(problem: string): AgentInjection {
  return { patch: [], warnings: [`dcred.dev: ${RELOAD_ANNOTATION}: ${problem}`] };
}

/** Why the pod gets no agent, and what to do; undefined: it gets one. */
function reasonAgainst(
  { spec }: AdmittedPod,
  reloads: readonly ReloadSpec[] | string,
  template: AgentTemplate | undefined,
): string | undefined {
  if (template === undefined)
    return 'no agent is added, because the webhook runs without --agent-image: set it, and re-create the pod';
  if (typeof reloads === 'string') return reloads;
  if (reloads.length === 0) return 'it is empty: write how the server reloads, such as signal:HUP:nginx';
  if (isForWindows(spec)) return 'no agent is added, because it runs on Linux only: let the server watch its files';
  if (containersOf(spec).some(({ name }) => name === AGENT_NAME))
    return `no agent is added, because a container is named "${AGENT_NAME}": rename it`;
  const status = (spec.volumes ?? []).find(({ name }) => name === STATUS_VOLUME);
  if (status !== undefined && status['emptyDir'] === undefined)
    return `no agent is added, because a volume is named "${STATUS_VOLUME}": rename it`;
  const signals = reloads.filter((reload) => reload.kind === 'signal');
  // A number in a file is one process, whoever sees which others.
  const byName = signals.find(({ process: named }) => named.kind === 'name');
  if (spec.hostPID === true && byName !== undefined)
    return (
      `no agent is added, because the pod sets hostPID: true, and ${formatReload(byName)} would reach every process of that name ` +
      'on the node: reload by http'
    );
  if (signals.length > 0 && spec.shareProcessNamespace === false && spec.hostPID !== true)
    return 'no agent is added, because signals need shared processes and the pod sets shareProcessNamespace: false: remove that, or reload by http';
  return undefined;
}

function readReloads(text: string): readonly ReloadSpec[] | string {
  try {
    return parseReloads(text);
  } catch (error) {
    if (error instanceof ReloadSpecError) return error.message;
    throw error;
  }
}

function configuredResources(pod: AdmittedPod, template: AgentTemplate) {
  const text = pod.metadata.annotations?.[AGENT_RESOURCES_ANNOTATION];
  const resources = resourcesFor(pod, template.resources ?? DEFAULT_RESOURCES);
  if (text === undefined) return { resources };
  try {
    return { resources: parseAgentResources(text) };
  } catch (error) {
    if (!(error instanceof AgentResourcesError)) throw error;
    return { resources, problem: `${AGENT_RESOURCES_ANNOTATION}: ${error.message}` };
  }
}

function argumentsFor(resourceNames: readonly string[], reloads: readonly ReloadSpec[]): readonly string[] {
  const directories = resourceNames.map((name) => `--dir=${mountPath(name)}`);
  return [...directories, ...reloads.map((reload) => `--reload=${literal(formatReload(reload))}`)];
}

/** Kubelets expand `$(NAME)` in the arguments of a container, and `$$` to `$`. */
function literal(text: string): string {
  return text.replaceAll('$', '$$$$');
}

function addAgent(spec: PodSpec, agent: Container, { exec }: Probes): JsonPatch {
  const volume = { name: STATUS_VOLUME, emptyDir: { sizeLimit: '1Mi' } };
  const isThere = (spec.volumes ?? []).some(({ name }) => name === STATUS_VOLUME);
  return [
    // The list exists: the volumes of the Secrets are in it by now.
    ...(exec && !isThere ? [{ op: 'add', path: '/spec/volumes/-', value: volume } as const] : []),
    spec.initContainers
      ? { op: 'add', path: '/spec/initContainers/-', value: agent }
      : { op: 'add', path: '/spec/initContainers', value: [agent] },
  ];
}

function updateAgent(
  list: readonly Container[],
  index: number,
  { args, resourceNames, user }: Pick<AgentParts, 'args' | 'resourceNames' | 'user'>,
): JsonPatch {
  const agent = list[index];
  if (agent === undefined) return [];
  const path = pointer('spec', 'initContainers', index);
  const present = agent.args ?? [];
  const ours = present.filter((arg) => arg.startsWith('--dir=') || arg.startsWith('--reload='));
  const others = present.slice(1).filter((arg) => !ours.includes(arg));
  const isCurrent = ours.length === args.length && ours.every((arg, position) => arg === args[position]);
  const lacksUser = user !== undefined && agent.securityContext && (agent.securityContext.runAsUser ?? null) === null;
  return [
    ...(isCurrent ? [] : [{ op: 'add', path: `${path}/args`, value: ['agent', ...args, ...others] } as const]),
    ...(lacksUser
      ? [
          { op: 'add', path: `${path}/securityContext/runAsUser`, value: user } as const,
          { op: 'add', path: `${path}/securityContext/runAsNonRoot`, value: user !== 0 } as const,
        ]
      : []),
    ...mountsPatch(`${path}/volumeMounts`, agent, resourceNames, true).patch,
  ];
}

function pullSecrets({ imagePullSecrets }: PodSpec, { pullSecrets: wanted = [] }: AgentTemplate): JsonPatch {
  const missing = wanted.filter((name) => !(imagePullSecrets ?? []).some((one) => one.name === name));
  if (missing.length === 0) return [];
  const path = '/spec/imagePullSecrets';
  if (!imagePullSecrets) return [{ op: 'add', path, value: missing.map((name) => ({ name })) }];
  return missing.map((name) => ({ op: 'add', path: `${path}/-`, value: { name } }));
}

/** Lets the containers of the pod see each other's processes. With hostPID they do already, and the API server refuses both. */
function sharedProcesses({ hostPID, shareProcessNamespace }: PodSpec): JsonPatch {
  if (hostPID === true || shareProcessNamespace === true) return [];
  return [{ op: 'add', path: '/spec/shareProcessNamespace', value: true }];
}

function signalWarnings(
  { spec }: AdmittedPod,
  server: ReturnType<typeof serverUser> | undefined,
  narrowed: ReadonlySet<string> | undefined,
): readonly string[] {
  const isNarrowed = narrowed !== undefined && containersOf(spec).some(({ name }) => !narrowed.has(name));
  return [
    ...(server?.conflict === undefined
      ? []
      : [
          `${RELOAD_ANNOTATION}: containers run as different users (${server.conflict}), and an agent can signal one of them only: ` +
            `name the server's container in ${CONTAINERS_ANNOTATION}`,
        ]),
    ...(server !== undefined && server.user === undefined
      ? [
          `${RELOAD_ANNOTATION}: the server's user is not known, and an agent can signal only processes of its own user: ` +
            'set securityContext.runAsUser of the container or the pod',
        ]
      : []),
    ...(isNarrowed
      ? [
          `${CONTAINERS_ANNOTATION} does not keep the key from the other containers: signals need shared processes, and through ` +
            '/proc those of the same user read it: reload by http instead',
        ]
      : []),
  ];
}
