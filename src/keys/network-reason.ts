/** Why a call had no answer, by the code of the error or of its cause: the text of an error may repeat what was sent. Pure. */
export function networkReason(error: unknown): string {
  const { cause, code } = (error ?? {}) as { readonly code?: unknown; readonly cause?: { readonly code?: unknown } };
  const reason = code ?? cause?.code;
  return typeof reason === 'string' && /^[A-Z0-9_]{1,60}$/.test(reason) ? reason : 'network error';
}
