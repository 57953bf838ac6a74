import type { ControlPlane } from '../../testing/controlplane/control-plane.ts';
import { CHART, list, NAMESPACE, type Values } from './chart.ts';

/** The Prometheus operator's CRDs, reduced to what the chart's objects need. */
export const MONITORING_CRDS = ['ServiceMonitor', 'PodMonitor', 'PrometheusRule'].map((kind) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${kind.toLowerCase()}s.monitoring.coreos.com` },
  spec: {
    group: 'monitoring.coreos.com',
    scope: 'Namespaced',
    names: { kind, plural: `${kind.toLowerCase()}s` },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
}));

/** Namespaces that enforce `restricted` for pods, and warn about Deployments that violate it. */
export async function createRestrictedNamespaces(plane: ControlPlane, names: readonly string[]): Promise<void> {
  const labels = {
    'pod-security.kubernetes.io/enforce': 'restricted',
    'pod-security.kubernetes.io/warn': 'restricted',
  };
  const namespaces = names.map((name) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }));
  await plane.kubectl(['apply', '-f', '-'], { input: list(namespaces) });
}

/** `helm install` or `helm upgrade`, without waiting for pods: there is no node to run them. */
export async function deploy(
  plane: ControlPlane,
  verb: 'install' | 'upgrade',
  options: { readonly values?: Values; readonly chart?: string; readonly release?: string } = {},
): Promise<string> {
  const { values = {}, chart = CHART, release = 'dcred' } = options;
  const { stdout } = await plane.helm([verb, release, chart, '--namespace', NAMESPACE, '--values', '-'], {
    input: JSON.stringify(values),
  });
  return stdout;
}
