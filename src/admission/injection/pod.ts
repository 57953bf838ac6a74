/** A pod as an AdmissionReview carries it: the part that injection reads. Everything else stays as it is. */

type Entries = Readonly<Record<string, string>>;

export interface Volume {
  readonly name: string;
  /** The source, under the name of its kind. */
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

/** Go writes an empty list or map as nothing, or as null. */
export interface AdmittedPod {
  readonly metadata: { readonly labels?: Entries | null; readonly annotations?: Entries | null };
  readonly spec: {
    readonly volumes?: readonly Volume[] | null;
    readonly containers?: readonly Container[] | null;
    readonly initContainers?: readonly Container[] | null;
    readonly securityContext?: { readonly fsGroup?: number | null; readonly runAsUser?: number | null } | null;
    readonly schedulingGates?: readonly SchedulingGate[] | null;
    /** Set where whoever creates the pod has chosen its node: then no scheduler is asked. */
    readonly nodeName?: string | null;
    readonly hostPID?: boolean | null;
    readonly shareProcessNamespace?: boolean | null;
  };
}
