/** Builders of the webhook's input. */
import type { AdmittedPod, Container } from '../../src/admission/injection/pod.ts';
import type { RandomBytes } from '../../src/admission/injection/secret-name.ts';

export interface PodParts {
  readonly inject?: string | undefined;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly spec?: Partial<AdmittedPod['spec']>;
}

/** A pod of one container, labelled to be injected with `web`. */
export function podWith({ annotations, inject = 'web', spec = {} }: PodParts = {}): AdmittedPod {
  const labels = { app: 'web', 'dcred.dev/inject': inject };
  return {
    metadata: { labels, ...(annotations === undefined ? {} : { annotations }) },
    spec: { containers: [container('main')], ...spec },
  };
}

export function container(name: string, parts: Partial<Container> = {}): Container {
  return { name, ...parts };
}

/** Bytes that differ from call to call, and are the same in every run. */
export function countingBytes(): RandomBytes {
  let count = 0;
  return (size) => {
    count += 1;
    return Uint8Array.from({ length: size }, (_, index) => (count >> (index % 16)) & 31);
  };
}

export const sameBytes: RandomBytes = (size) => new Uint8Array(size);

export function review(object: unknown, request: object = {}): object {
  return {
    // In the order in which the API server writes them.
    kind: 'AdmissionReview',
    apiVersion: 'admission.k8s.io/v1',
    request: {
      uid: 'u-1',
      operation: 'CREATE',
      resource: { group: '', version: 'v1', resource: 'pods' },
      namespace: 'edge',
      object,
      ...request,
    },
  };
}
