/** Generates the chart's README from the comments in its values.yaml, so that each value is documented in one place. */

/** The fields of Chart.yaml that the README uses. */
export interface ChartFile {
  readonly name: string;
  readonly description: string;
  readonly kubeVersion: string;
}

/** One row of the table. */
interface DocumentedValue {
  /** Dotted: `image.tag`. */
  readonly key: string;
  readonly description: string;
  /** As JSON. */
  readonly default: string;
}

/** A value without a description is an error. */
export class UndocumentedValueError extends Error {
  readonly code = 'UndocumentedValue';
  override readonly name = 'UndocumentedValueError';
}

const DOCUMENTATION = /^\s*# -- (.*)$/;
const CONTINUATION = /^\s*# ?(.*)$/;
const KEY = /^(\s*)([A-Za-z]\w*):(.*)$/;
const INDENT = 2;

/**
 * The documented values, in the file's order. A comment that begins with `# --` describes the key below it, and with it
 * everything inside that key. `values` is the same file, parsed. Throws UndocumentedValueError.
 */
export function documentedValues(source: string, values: unknown): readonly DocumentedValue[] {
  const rows: DocumentedValue[] = [];
  let path: string[] = [];
  let comment: string[] | undefined;
  let documentedDepth = Number.POSITIVE_INFINITY;
  for (const line of source.split('\n')) {
    const begin = DOCUMENTATION.exec(line);
    const continued = CONTINUATION.exec(line);
    const key = KEY.exec(line);
    if (begin !== null) comment = [begin[1] ?? ''];
    else if (continued !== null) comment?.push(continued[1] ?? '');
    else if (key !== null) {
      const depth = (key[1] ?? '').length / INDENT;
      path = [...path.slice(0, depth), key[2] ?? ''];
      const isInsideDocumented = depth > documentedDepth;
      if (isInsideDocumented) continue;
      documentedDepth = Number.POSITIVE_INFINITY;
      if (comment !== undefined) {
        rows.push({
          key: path.join('.'),
          description: comment.join(' ').trim(),
          default: JSON.stringify(at(values, path)),
        });
        comment = undefined;
        documentedDepth = depth;
      } else if (key[3]?.trim() !== '') {
        throw new UndocumentedValueError(
          `values.yaml: ${path.join('.')} has no description: write one above it, "# -- ..."`,
        );
      }
    } else if (line.trim() === '') comment = undefined;
  }
  return rows;
}

/** The whole README. */
export function chartReadme(options: {
  readonly chart: ChartFile;
  readonly source: string;
  readonly values: unknown;
}): string {
  const { chart, source, values } = options;
  const rows = documentedValues(source, values).map(
    (row) => `| \`${row.key}\` | ${cell(row.description)} | \`${cell(row.default)}\` |`,
  );
  return `${introduction(chart)}
## Values

| value | what it does | default |
|---|---|---|
${rows.join('\n')}
`;
}

function introduction(chart: ChartFile): string {
  return `<!-- Generated from values.yaml by "npm run generate". Do not edit. -->

# ${chart.name}

${chart.description}. Kubernetes ${chart.kubeVersion.replace('-0', '')}.

    helm install dcred charts/dcred --namespace dcred-system --create-namespace
    helm test dcred --namespace dcred-system
    helm upgrade dcred charts/dcred --namespace dcred-system

To serve only two namespaces, with no permission in any other:

    helm install dcred charts/dcred --namespace dcred-system --create-namespace --set 'namespaces={edge,shop}'

The CustomResourceDefinitions are upgraded with the release. Uninstalling the release keeps them, with all their objects; the issued
Secrets stay as long as their pods. A new install with the same release name and namespace adopts them; with another name, or after
\`dcred crd | kubectl apply\`, add \`--take-ownership\`. To apply them before the install, print them for the release:
\`dcred crd --helm-release dcred-system/dcred | kubectl apply --server-side -f -\`. To remove them for good:
\`kubectl delete crd delegatedcredentials.dcred.dev delegationgrants.dcred.dev delegationissuers.dcred.dev clusterdelegationissuers.dcred.dev\`.

The values choose who can use a certificate's key: by default the operator; with \`certificates\` the key is in a separate namespace; with
\`signer.enabled\` only a small, separate process can use it; with \`signer.certificates[].keys\` the key cannot be copied. The
[table of the modes](../../docs/threat-model.md#who-can-use-a-certificates-key) says what a stolen operator, signer, pod or namespace gets in each.

All pods meet the Pod Security Standard \`restricted\`. Each rule in \`templates/_helpers.tpl\` says why the operator needs it. The roles
\`view\`, \`edit\` and \`admin\` of a namespace extend to its DelegatedCredentials.
`;
}

function at(values: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? Reflect.get(value, key) : undefined),
    values,
  );
}

/** A pipe would end the cell. */
function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
