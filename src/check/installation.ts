/** What runs in the cluster, by the chart's labels. */
import { COMPONENT_LABEL, PART_OF, PART_OF_LABEL, VERSION_LABEL } from '../api/keys.ts';
import { isApiError } from '../kubernetes/api-error.ts';
import type { ApiClient } from '../kubernetes/client/api-client.ts';
import { listKept } from '../kubernetes/client/list-all.ts';
import type { KubernetesObject } from '../kubernetes/objects.ts';
import type { ResourceType } from '../kubernetes/resource-type.ts';
import type { ServiceAccount } from './access.ts';

export const DEPLOYMENTS = {
  group: 'apps',
  version: 'v1',
  plural: 'deployments',
  kind: 'Deployment',
  namespaced: true,
} as const satisfies ResourceType;

/** Selects all objects of the chart. */
export const PART_OF_DCRED = `${PART_OF_LABEL}=${PART_OF}`;

export type Deployment = KubernetesObject<{
  readonly spec?: {
    readonly replicas?: number;
    readonly template?: {
      readonly spec?: {
        readonly serviceAccountName?: string;
        readonly containers?: readonly { readonly image?: string; readonly args?: readonly string[] }[];
      };
    };
  };
  readonly status?: { readonly availableReplicas?: number };
}>;

/** One of dcred's Deployments, as far as the checks need it. */
export interface Installed {
  readonly namespace: string;
  readonly name: string;
  readonly component: string;
  /** Of dcred, by the chart's label. */
  readonly version: string | undefined;
  readonly image: string | undefined;
  readonly account: ServiceAccount;
  readonly args: readonly string[];
  readonly replicas: number;
  readonly available: number;
}

/**
 * dcred's Deployments, in the namespace that is named or in all of them; undefined where I may not list them. Throws ApiError.
 */
export async function findInstalled(
  client: Pick<ApiClient, 'list'>,
  namespace: string | undefined,
  signal: AbortSignal,
): Promise<readonly Installed[] | undefined> {
  const selection = { namespace, labelSelector: PART_OF_DCRED };
  try {
    return await listKept(client, DEPLOYMENTS, selection, readDeployment, signal);
  } catch (error) {
    if (isApiError(error, 'Forbidden')) return undefined;
    throw error;
  }
}

/** Whoever may create a Deployment may label it as dcred's, with a hundred thousand arguments. */
const MAX_ARGS = 2048;

export function readDeployment({ metadata, spec, status }: Deployment): Installed {
  const { labels = {}, name = '', namespace = '' } = metadata;
  const pod = spec?.template?.spec;
  const [container] = pod?.containers ?? [];
  return {
    namespace,
    name,
    component: labels[COMPONENT_LABEL] ?? '',
    version: labels[VERSION_LABEL],
    image: container?.image,
    account: { namespace, name: pod?.serviceAccountName ?? 'default' },
    args: (container?.args ?? []).slice(0, MAX_ARGS),
    replicas: spec?.replicas ?? 1,
    available: status?.availableReplicas ?? 0,
  };
}

/** The values of `--name=value`, `--name value`, `-n value` and `-nvalue` among the arguments of a container. */
export function flagValues(args: readonly string[], ...names: readonly string[]): readonly string[] {
  return args.flatMap((word, position) => {
    if (names.includes(word)) return [args[position + 1] ?? ''];
    const start = names.map((name) => (name.startsWith('--') ? `${name}=` : name)).find((one) => word.startsWith(one));
    return start === undefined ? [] : [word.slice(start.length)];
  });
}

/** The namespaces that an operator with these arguments serves, each once; none: all of them. */
export function servedNamespaces(args: readonly string[]): readonly string[] {
  return [...new Set(flagValues(args, '--namespace', '-n'))];
}

/** The operator that serves a namespace; undefined where there is none, or I may not list Deployments. */
export function operatorOf(namespace: string, installed: readonly Installed[] | undefined = []): Installed | undefined {
  return installed.find(({ args, component }) => {
    const served = servedNamespaces(args);
    return component === 'operator' && (served.length === 0 || served.includes(namespace));
  });
}

/** Where an operator with these arguments has credentials signed; undefined where it signs itself. */
export function signerUrl(args: readonly string[]): string | undefined {
  return flagValues(args, '--signer').at(-1);
}

/** By `--name`, `--name=false` or `--no-name`, the last of which counts. */
export function isOn(args: readonly string[], name: string, preset: boolean): boolean {
  const said = args.findLast((word) => word === name || word === negated(name) || word.startsWith(`${name}=`));
  return said === undefined ? preset : said !== negated(name) && said !== `${name}=false`;
}

function negated(name: string): string {
  return name.replace(/^--/, '--no-');
}
