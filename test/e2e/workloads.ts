/** Manifests for pods that run on the node. They keep to the `restricted` Pod Security Standard. */

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly port?: number;
  readonly stdin?: boolean;
  readonly volumeMounts?: readonly object[];
}

export function podSpec(container: Container, volumes: readonly object[] = []): object {
  const { port, ...given } = container;
  return {
    terminationGracePeriodSeconds: 1,
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    containers: [
      {
        ...given,
        imagePullPolicy: 'Never',
        securityContext: {
          allowPrivilegeEscalation: false,
          capabilities: { drop: ['ALL'] },
        },
        ...(port === undefined
          ? {}
          : {
              ports: [{ containerPort: port }],
              readinessProbe: { tcpSocket: { port }, periodSeconds: 1 },
            }),
      },
    ],
    ...(volumes.length === 0 ? {} : { volumes }),
  };
}

export function pod(name: string, spec: object, labels: Readonly<Record<string, string>> = {}): object {
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec };
}

/** Its pods have the label `app=<name>`. */
export function deployment(
  name: string,
  replicas: number,
  spec: object,
  labels: Readonly<Record<string, string>> = {},
  annotations: Readonly<Record<string, string>> = {},
) {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name, ...labels }, annotations }, spec },
    },
  };
}

/** Selects the pods with the label `app=<name>`. */
export function service(name: string, port: number, targetPort: number): object {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector: { app: name }, ports: [{ port, targetPort }] },
  };
}

/** For `kubectl apply -f -`. */
export function list(...items: readonly object[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}
