/** The reload agent as a container of a pod. Pure. */
import { mountPath, volumeName } from '../../api/keys.ts';
import { type AdmittedPod, type Container, containersOf, type PodSpec, type Resources } from './pod.ts';

export const AGENT_NAME = 'dcred-agent';
const AGENT_PORT = 9345;
/** Not `dcred-...`: that is how the volumes of resources are named. */
export const STATUS_VOLUME = 'status-of-dcred-agent';
const STATUS_DIRECTORY = '/run/dcred-agent';
const STATUS_FILE = `${STATUS_DIRECTORY}/status.json`;
/** The image's own user, for agents that need not be the server's. */
const IMAGE_USER = 65_532;
/** Of dcred's image. A probe does not get it by itself. */
const ENTRYPOINT = ['node', '/app/dcred.mjs'];
const NODE_OPTIONS = '--max-old-space-size=32 --max-semi-space-size=1';

/** What agents are made from; set for all pods. */
export interface AgentTemplate {
  readonly image: string;
  readonly pullPolicy: string;
  /** Names of Secrets in the pods' namespaces. */
  readonly pullSecrets?: readonly string[];
  readonly resources?: Resources;
  /** `exec` where a service mesh intercepts the kubelet's HTTP probes. */
  readonly probes?: 'http' | 'exec';
}

/** An agent that an earlier call has added. Its mounts are the agent's affair, whatever `dcred.dev/containers` says. */
export function isAgent({ args, name, restartPolicy }: Container): boolean {
  return name === AGENT_NAME && restartPolicy === 'Always' && args?.[0] === 'agent';
}

/** The pod as its author and other admission plugins made it. */
export function withoutAgent(pod: AdmittedPod): AdmittedPod {
  const { initContainers } = pod.spec;
  if (!(initContainers ?? []).some(isAgent)) return pod;
  return { ...pod, spec: { ...pod.spec, initContainers: (initContainers ?? []).filter((one) => !isAgent(one)) } };
}

export interface Probes {
  /** Undefined: none, for a port that is the node's, or another container's. */
  readonly port: number | undefined;
  readonly exec: boolean;
}

export function probesFor(spec: PodSpec, { probes = 'http' }: AgentTemplate): Probes {
  const ports = containersOf(spec).flatMap((container) => container.ports ?? []);
  const taken = spec.hostNetwork === true || ports.some(({ containerPort }) => containerPort === AGENT_PORT);
  return { port: taken ? undefined : AGENT_PORT, exec: taken || probes === 'exec' };
}

export interface AgentParts {
  readonly args: readonly string[];
  readonly probes: Probes;
  readonly resourceNames: readonly string[];
  readonly resources: Resources | string;
  readonly template: AgentTemplate;
  readonly user: number | undefined;
}

export function agentContainer({ args, probes, resourceNames, resources, template, user }: AgentParts): Container {
  const agent = {
    name: AGENT_NAME,
    image: template.image,
    imagePullPolicy: template.pullPolicy,
    // Native sidecar: it starts before the server, and runs as long as the pod.
    restartPolicy: 'Always',
    args: [
      'agent',
      ...args,
      ...(probes.port === undefined ? ['--bind-address=0'] : []),
      ...(probes.exec ? [`--status-file=${STATUS_FILE}`] : []),
    ],
    env: [{ name: 'NODE_OPTIONS', value: NODE_OPTIONS }],
    ...(probes.port === undefined ? {} : { ports: [{ name: AGENT_NAME, containerPort: probes.port }] }),
    volumeMounts: [
      ...resourceNames.map((name) => ({ name: volumeName(name), mountPath: mountPath(name), readOnly: true })),
      ...(probes.exec ? [{ name: STATUS_VOLUME, mountPath: STATUS_DIRECTORY }] : []),
    ],
    ...(probes.exec ? execProbe() : httpProbes()),
    ...(typeof resources === 'string' ? {} : { resources }),
    securityContext: securityContext(user),
  };
  return agent;
}

function httpProbes(): object {
  const port = { port: AGENT_PORT };
  return {
    readinessProbe: { httpGet: { path: '/readyz', ...port }, periodSeconds: 10 },
    livenessProbe: { httpGet: { path: '/healthz', ...port }, periodSeconds: 30, failureThreshold: 4 },
  };
}

/** Each probe starts Node for a moment, so it is rare; and there is none for liveness, which an exit tells the kubelet too. */
function execProbe(): object {
  const command = [...ENTRYPOINT, 'agent', '--check', `--status-file=${STATUS_FILE}`];
  return { readinessProbe: { exec: { command }, periodSeconds: 20, timeoutSeconds: 10 } };
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

/** Without signals any user will do but root, which the agent would inherit from the pod and refuse to run as. */
export function userWithoutSignals({ securityContext: pod }: PodSpec): number | undefined {
  return pod?.runAsUser === 0 ? IMAGE_USER : undefined;
}
