/** Applies the webhook's answer with a third-party JSON Patch library. */
import { applyPatch as apply, type Operation } from 'rfc6902';
import type { JsonPatch } from '../../src/admission/injection/json-patch.ts';

/** The patched copy of a document. Throws where an operation cannot be applied. */
export function applyPatch<T>(document: T, patch: JsonPatch): T {
  const copy = structuredClone(document);
  // A copy of the patch too: the library puts its values into the document as they are.
  const errors = apply(copy, structuredClone(patch) as Operation[]);
  for (const error of errors) if (error !== null) throw error;
  return copy;
}
