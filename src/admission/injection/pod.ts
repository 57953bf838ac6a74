/** The part of a pod in an AdmissionReview that injection reads. Other fields are kept as they are. */

type Entries = Readonly<Record<string, string>>;

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

export interface Container {
  readonly name: string;
  readonly volumeMounts?: readonly VolumeMount[] | null;
  readonly volumeDevices?: readonly { readonly devicePath: string }[] | null;
  readonly securityContext?: { readonly runAsUser?: number | null } | null;
}

export interface SchedulingGate {
  readonly name: string;
}

/** Go encodes an empty list or map as absent or as null. */
export interface AdmittedPod {
  readonly metadata: { readonly labels?: Entries | null; readonly annotations?: Entries | null };
  readonly spec: {
    readonly volumes?: readonly Volume[] | null;
    readonly containers?: readonly Container[] | null;
    readonly initContainers?: readonly Container[] | null;
    readonly securityContext?: { readonly fsGroup?: number | null; readonly runAsUser?: number | null } | null;
    readonly schedulingGates?: readonly SchedulingGate[] | null;
    /** Set when the creator has chosen the node: then no scheduler is involved. */
    readonly nodeName?: string | null;
    readonly hostPID?: boolean | null;
    readonly shareProcessNamespace?: boolean | null;
  };
}
