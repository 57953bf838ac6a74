/** Which operating system a pod is for, as far as it says so. Pure. */
import { containersOf, type NodeSelectorTerm, type PodSpec } from './pod.ts';

/** The second one is deprecated since Kubernetes 1.14, and kubelets still set it. */
const LABELS = ['kubernetes.io/os', 'beta.kubernetes.io/os'];

/** Whether it runs on Windows only: the pod names the system, can run on no other node, or has options of Windows. */
export function isForWindows(spec: PodSpec): boolean {
  const { affinity, nodeSelector, os, securityContext } = spec;
  const [named] = [os?.name, ...LABELS.map((label) => nodeSelector?.[label])].filter((one) => one !== undefined);
  if (named !== undefined) return named === 'windows';
  const required = affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  const terms = required?.nodeSelectorTerms ?? [];
  if (terms.length > 0 && terms.every(isOfWindows)) return true;
  const contexts = [securityContext, ...containersOf(spec).map((container) => container.securityContext)];
  return contexts.some((context) => Object.keys(context?.windowsOptions ?? {}).length > 0);
}

function isOfWindows({ matchExpressions }: NodeSelectorTerm): boolean {
  return (matchExpressions ?? []).some(({ key, operator, values }) => {
    const [only, ...others] = values ?? [];
    return LABELS.includes(key) && operator === 'In' && only === 'windows' && others.length === 0;
  });
}
