import type { ControlPlane } from '../../testing/controlplane/control-plane.ts';
import { list } from './chart.ts';

export const VERBS = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'];

export interface Question {
  readonly verb: string;
  /** In kubectl's notation: `pods`, `pods/log`, `leases.coordination.k8s.io`. */
  readonly resource: string;
  /** Omitted: all namespaces. */
  readonly namespace?: string;
  readonly name?: string;
}

/** The questions that the API server answers with "allowed", each as `verb resource`. */
export async function allowed(
  plane: ControlPlane,
  subject: { readonly user: string; readonly groups?: readonly string[] },
  questions: readonly Question[],
): Promise<ReadonlySet<string>> {
  const reviews = questions.map(({ verb, resource, namespace, name }) => {
    const [path = '', subresource] = resource.split('/');
    const [plural = '', ...group] = path.split('.');
    return {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        ...subject,
        resourceAttributes: { verb, group: group.join('.'), resource: plural, subresource, namespace, name },
      },
    };
  });
  const { stdout } = await plane.kubectl(['create', '-f', '-', '-o', 'jsonpath={.status.allowed}{"\\n"}'], {
    input: list(reviews),
  });
  const answers = stdout.trim().split('\n');
  if (answers.length !== questions.length) throw new Error(`${questions.length} questions, ${answers.length} answers`);
  return new Set(
    questions.filter((_, index) => answers[index] === 'true').map(({ verb, resource }) => `${verb} ${resource}`),
  );
}
