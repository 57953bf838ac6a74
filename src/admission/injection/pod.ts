/** The part of a pod in an AdmissionReview that injection reads. Other fields are kept as they are. */

export type Entries = Readonly<Record<string, string>>;

export interface Volume {
  readonly name: string;
  /** The source, keyed by its kind. */
  readonly [source: string]: unknown;
}

export interface VolumeMount {
  readonly name: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
  readonly subPath?: string;
  readonly subPathExpr?: string;
}

/** The resources that the agent has requests and limits of. */
export const RESOURCE_NAMES = ['cpu', 'memory', 'ephemeral-storage'] as const;

/** Quantities by resource, as in `cpu: 100m`. */
export interface Resources {
  readonly requests?: Entries | null;
  readonly limits?: Entries | null;
}

export interface Container {
  readonly name: string;
  readonly args?: readonly string[] | null;
  readonly ports?: readonly { readonly containerPort: number }[] | null;
  readonly restartPolicy?: string | null;
  readonly resources?: Resources | null;
  readonly securityContext?: { readonly runAsUser?: number | null; readonly windowsOptions?: object | null } | null;
  readonly volumeMounts?: readonly VolumeMount[] | null;
  readonly volumeDevices?: readonly { readonly devicePath: string }[] | null;
}

export interface SchedulingGate {
  readonly name: string;
}

export interface NodeSelectorTerm {
  readonly matchExpressions?:
    | readonly { readonly key: string; readonly operator: string; readonly values?: readonly string[] | null }[]
    | null;
}

export interface PodSpec {
  readonly volumes?: readonly Volume[] | null;
  readonly containers?: readonly Container[] | null;
  readonly initContainers?: readonly Container[] | null;
  readonly securityContext?: {
    readonly fsGroup?: number | null;
    readonly runAsUser?: number | null;
    readonly windowsOptions?: object | null;
  } | null;
  readonly schedulingGates?: readonly SchedulingGate[] | null;
  readonly imagePullSecrets?: readonly { readonly name?: string }[] | null;
  readonly nodeSelector?: Entries | null;
  readonly affinity?: {
    readonly nodeAffinity?: {
      readonly requiredDuringSchedulingIgnoredDuringExecution?: {
        /** One of them has to match. */
        readonly nodeSelectorTerms?: readonly NodeSelectorTerm[] | null;
      } | null;
    } | null;
  } | null;
  readonly os?: { readonly name?: string } | null;
  /** Of the pod as a whole. */
  readonly resources?: Resources | null;
  /** Set when the creator has chosen the node: then no scheduler is involved. */
  readonly nodeName?: string | null;
  readonly hostNetwork?: boolean | null;
  readonly hostPID?: boolean | null;
  readonly shareProcessNamespace?: boolean | null;
}

/** Go encodes an empty list or map as absent or as null. */
export interface AdmittedPod {
  readonly metadata: { readonly labels?: Entries | null; readonly annotations?: Entries | null };
  readonly spec: PodSpec;
}

/** All containers that the pod is created with, in the order of the API server's own validation. */
export function containersOf({ containers, initContainers }: PodSpec): readonly Container[] {
  return [...(initContainers ?? []), ...(containers ?? [])];
}
