/** One thing that cannot be checked does not keep the others from being checked. */
import { ApiError } from '../kubernetes/api-error.ts';
import { printable } from '../text/printable.ts';
import { type Finding, warning } from './finding.ts';

export interface Section<T> {
  readonly value: T | undefined;
  readonly findings: readonly Finding[];
}

/** What `run` gives, or the finding that the API server refused it. Throws the signal's reason, and what is no ApiError. */
export async function section<T>(check: string, signal: AbortSignal, run: () => Promise<T>): Promise<Section<T>> {
  try {
    return { value: await run(), findings: [] };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof ApiError)) throw error;
    const isForbidden = error.reason === 'Forbidden' || error.reason === 'Unauthorized';
    const remedy = isForbidden
      ? 'run this as a user who may do that'
      : 'run this again; if it stays so, see the log of the API server';
    return {
      value: undefined,
      findings: [warning(check, `could not be checked: ${printable(error.message, 512)}`, remedy)],
    };
  }
}

/** As `section`, of findings. */
export async function attempt(
  check: string,
  signal: AbortSignal,
  run: () => Promise<Finding | readonly Finding[]>,
): Promise<readonly Finding[]> {
  const { findings, value = [] } = await section(check, signal, run);
  return [...findings, ...[value].flat()];
}
