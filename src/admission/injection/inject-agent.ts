/**
 * The reload agent: the annotation `dcred.dev/reload` says how the server reloads, and the pod gets a native sidecar (an init
 * container with restartPolicy Always) from dcred's image that triggers it after each re-issue. Pure.
 */
import { mountPath, RELOAD_ANNOTATION, volumeName } from '../../api/keys.ts';
import { formatReload, parseReload, type ReloadSpec, ReloadSpecError } from '../../api/reload-spec.ts';
import { type JsonPatch, replaceItems } from './json-patch.ts';
import type { AdmittedPod, Container } from './pod.ts';

const AGENT_NAME = 'dcred-agent';
const AGENT_PORT = 9345;

/** The sidecar's image. */
export interface AgentImage {
  readonly image: string;
  readonly pullPolicy: string;
}

export interface AgentInjection {
  readonly patch: JsonPatch;
  readonly warnings: readonly string[];
}

const NOTHING: AgentInjection = Object.freeze({ patch: [], warnings: [] });

/** Measured: an idle agent uses 77 MB with these, most of it Node's own code, which pods of a node share. */
const NODE_OPTIONS = '--max-old-space-size=32 --max-semi-space-size=1';
const RESOURCES = { requests: { cpu: '5m', memory: '64Mi' }, limits: { memory: '128Mi' } } as const;

/** @param resources names of the injected resources, each with its volume */
export function injectAgent(
  pod: AdmittedPod,
  resources: readonly string[],
  image: AgentImage | undefined,
): AgentInjection {
  const text = pod.metadata.annotations?.[RELOAD_ANNOTATION];
  if (text === undefined) return NOTHING;
  const warn = (problem: string): AgentInjection => ({
    patch: [],
    warnings: [`dcred.dev: ${RELOAD_ANNOTATION}: ${problem}`],
  });
  if (image === undefined)
    return warn('no agent is added, because the webhook runs without --agent-image: set it, and re-create the pod');
  const reloads = readReloads(text);
  if (reloads instanceof ReloadSpecError) return warn(reloads.message);
  if (reloads.length === 0) return warn('it is empty: write how the server reloads, such as signal:HUP:nginx');
  const signals = reloads.some(({ kind }) => kind === 'signal');
  const user = signals ? userOf(pod) : undefined;
  const agent = agentContainer(resources, reloads, image, user);
  const list = pod.spec.initContainers;
  return {
    patch: [
      ...replaceItems<Container>('/spec/initContainers', list, ({ name }) => name === AGENT_NAME, [agent]),
      ...(signals ? sharedProcesses(pod) : []),
    ],
    warnings:
      signals && user === undefined
        ? [
            `dcred.dev: ${RELOAD_ANNOTATION}: the server's user is not known, and an agent can signal only processes of its own user: ` +
              'set securityContext.runAsUser of the container or the pod',
          ]
        : [],
  };
}

function readReloads(text: string): readonly ReloadSpec[] | ReloadSpecError {
  try {
    return text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '')
      .map(parseReload);
  } catch (error) {
    if (error instanceof ReloadSpecError) return error;
    throw error;
  }
}

function agentContainer(
  resources: readonly string[],
  reloads: readonly ReloadSpec[],
  { image, pullPolicy }: AgentImage,
  user: number | undefined,
): Container {
  const dirs = resources.map((resource) => `--dir=${mountPath(resource)}`);
  const port = { port: AGENT_PORT };
  const agent = {
    name: AGENT_NAME,
    image,
    imagePullPolicy: pullPolicy,
    // Native sidecar: it starts before the server, and runs as long as the pod.
    restartPolicy: 'Always',
    args: ['agent', ...dirs, ...reloads.map((reload) => `--reload=${formatReload(reload)}`)],
    env: [{ name: 'NODE_OPTIONS', value: NODE_OPTIONS }],
    ports: [{ name: AGENT_NAME, containerPort: AGENT_PORT }],
    volumeMounts: resources.map((resource) => ({
      name: volumeName(resource),
      mountPath: mountPath(resource),
      readOnly: true,
    })),
    readinessProbe: { httpGet: { path: '/readyz', ...port }, periodSeconds: 10 },
    livenessProbe: { httpGet: { path: '/healthz', ...port }, periodSeconds: 30, failureThreshold: 4 },
    resources: RESOURCES,
    securityContext: securityContext(user),
  };
  return agent;
}

/** Meets PodSecurity `restricted`, unless the server itself runs as root: only root may signal root. */
function securityContext(user: number | undefined): object {
  return {
    ...(user === undefined ? {} : { runAsUser: user }),
    runAsNonRoot: user !== 0,
    allowPrivilegeEscalation: false,
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  };
}

/** A process may signal those of its own user. The first container that says who it runs as, else the pod. */
function userOf({ spec }: AdmittedPod): number | undefined {
  const users = (spec.containers ?? []).map(({ securityContext: own }) => own?.runAsUser);
  return users.find((user) => typeof user === 'number') ?? spec.securityContext?.runAsUser ?? undefined;
}

/** Lets the containers of the pod see each other's processes. With hostPID they do already, and the API server refuses both. */
function sharedProcesses({ spec }: AdmittedPod): JsonPatch {
  if (spec.hostPID === true || spec.shareProcessNamespace === true) return [];
  return [{ op: 'add', path: '/spec/shareProcessNamespace', value: true }];
}
