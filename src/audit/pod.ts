/** What an audit keeps of a pod: a hundredth of the object, and bounded, because strangers write pods. Pure. */
import { portAnnotation } from '../api/keys.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import { type Pod, readPod } from '../operator/core/pod.ts';
import type { ContainerPort } from './endpoint.ts';

export interface AuditedPod extends Pod {
  /** Undefined: it has no address yet. */
  readonly ip: string | undefined;
  readonly running: boolean;
  /** Seconds since the epoch. */
  readonly createdAt: number;
  /** TCP only. */
  readonly ports: readonly ContainerPort[];
  /** `port.dcred.dev/<resource>` annotations: resource to value. A map, because a resource may be called `constructor`. */
  readonly portAnnotations: ReadonlyMap<string, string>;
}

export type PodObject = KubernetesObject<{
  readonly spec?: {
    readonly containers?: readonly {
      readonly ports?: readonly {
        readonly name?: string;
        readonly containerPort?: number;
        readonly protocol?: string;
      }[];
    }[];
  };
  readonly status?: { readonly phase?: string; readonly podIP?: string };
}>;

const MAX_PORTS = 64;
const MAX_PORT_ANNOTATIONS = 16;
const MAX_ANNOTATION_LENGTH = 64;
const PREFIX = portAnnotation('');

export function readAuditedPod(object: PodObject): AuditedPod {
  const { metadata, spec, status } = object;
  const createdMs = Date.parse(metadata.creationTimestamp ?? '');
  return {
    ...readPod(object),
    ip: status?.podIP === undefined || status.podIP === '' ? undefined : status.podIP,
    running: status?.phase === 'Running',
    createdAt: Number.isNaN(createdMs) ? 0 : Math.floor(createdMs / 1000),
    ports: tcpPorts(spec),
    portAnnotations: portAnnotations(metadata.annotations ?? {}),
  };
}

/** Sidecars that dcred injects are init containers, and not among these. */
function tcpPorts(spec: PodObject['spec']): readonly ContainerPort[] {
  const all = (spec?.containers ?? []).flatMap(({ ports = [] }) => ports);
  const tcp = all.filter(({ protocol = 'TCP' }) => protocol === 'TCP').slice(0, MAX_PORTS);
  return tcp.flatMap(({ containerPort: port, name }) => (port === undefined ? [] : { name, port }));
}

function portAnnotations(annotations: Readonly<Record<string, string>>): ReadonlyMap<string, string> {
  const found = Object.entries(annotations).filter(([key]) => key.startsWith(PREFIX));
  return new Map(
    found
      .slice(0, MAX_PORT_ANNOTATIONS)
      .map(([key, value]) => [key.slice(PREFIX.length), value.slice(0, MAX_ANNOTATION_LENGTH)]),
  );
}
