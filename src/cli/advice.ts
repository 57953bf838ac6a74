/** What to do about an error of the API server: its own words say only what it refused. */
import { ApiError } from '../kubernetes/api-error.ts';

const CHECK = '"dcred check" says what is missing';

/** A sentence without its end, or undefined where the error says it itself. */
export function adviceFor(error: unknown): string | undefined {
  if (!(error instanceof ApiError)) return undefined;
  switch (error.reason) {
    case 'Network':
    case 'Timeout':
      return 'Check the server of the kubeconfig, --kubeconfig and --context, and that this machine can reach it.';
    case 'Unauthorized':
      return 'The credentials of the kubeconfig were not accepted: log in again, or choose another --context.';
    case 'Forbidden':
      return `Ask for the permission, or use another --context; ${CHECK}.`;
    case 'NotFound':
      return isUnknownType(error)
        ? `Install the chart, or choose the cluster that has it with --context; ${CHECK}.`
        : undefined;
    case 'BadRequest':
      return isSelector(error) ? 'Check the selector of -l: labels such as app=web, or "tier in (a, b)".' : undefined;
    default:
      return undefined;
  }
}

/** Of a list only a selector is the user's own, and the API server names it not. */
function isSelector({ message }: ApiError): boolean {
  return /^list .*(parse requirement|expected: )/.test(message);
}

/** Of a path that the API server does not serve; a NotFound of an object has its name. */
function isUnknownType({ details }: ApiError): boolean {
  return details?.name === undefined;
}
