/** Whether the cluster's CustomResourceDefinition is the one that this dcred was built with. Pure. */

import { isRecord } from '../text/is-record.ts';
import { firstItems } from '../text/printable.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

export interface Definition {
  readonly metadata: { readonly name?: string };
  readonly spec?: {
    readonly names?: { readonly plural?: string };
    readonly versions?: readonly {
      readonly name?: string;
      readonly served?: boolean;
      readonly schema?: { readonly openAPIV3Schema?: unknown };
    }[];
  };
  readonly status?: { readonly conditions?: readonly { readonly type?: string; readonly status?: string }[] };
}

const APPLY =
  'install or upgrade the chart; without it, run "dcred crd | kubectl apply --server-side -f -" with the dcred that you want to run';

/** @param found undefined where there is none */
export function checkDefinition(expected: Definition, found: Definition | undefined): Finding {
  const name = expected.metadata.name ?? '';
  if (found === undefined) return problem('CustomResourceDefinition', `${name} is not installed`, APPLY);
  if (!found.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True')) {
    const remedy = `see "kubectl get crd ${name} -o yaml" for the conditions`;
    return problem('CustomResourceDefinition', `${name} is not established`, remedy);
  }
  for (const wanted of expected.spec?.versions ?? []) {
    const version = found.spec?.versions?.find((one) => one.name === wanted.name && one.served === true);
    if (version === undefined) {
      return problem('CustomResourceDefinition', `${name} does not serve version ${wanted.name}`, APPLY);
    }
    const paths = differences(wanted.schema?.openAPIV3Schema, version.schema?.openAPIV3Schema);
    if (paths.length > 0) {
      const { omitted, shown } = firstItems(paths, MAX_SHOWN);
      const list = `${shown.join(', ')}${omitted === 0 ? '' : ` and ${omitted} more`}`;
      return warning(
        'CustomResourceDefinition',
        `${name} is of another version of dcred: it differs in ${list}`,
        APPLY,
      );
    }
  }
  return ok('CustomResourceDefinition', `${name} matches this version of dcred`);
}

const MAX_SHOWN = 3;

/** The paths at which two schemas differ, as in a manifest: `spec.suspend`. Descriptions count for nothing. */
export function differences(expected: unknown, found: unknown, path = ''): readonly string[] {
  if (isRecord(expected) && isRecord(found)) {
    const keys = [...new Set([...Object.keys(expected), ...Object.keys(found)])].sort();
    return keys.flatMap((key) => {
      if (key === 'description' && typeof (expected[key] ?? found[key]) === 'string') return [];
      return differences(expected[key], found[key], STRUCTURE.includes(key) ? path : join(path, key));
    });
  }
  const same = JSON.stringify(expected) === JSON.stringify(found);
  return same ? [] : [path === '' ? 'the whole schema' : path];
}

/** Keys of a schema that no manifest has. */
const STRUCTURE = ['properties', 'items', 'additionalProperties'];

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}
