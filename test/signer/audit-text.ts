import { LogVerifier } from '../../src/signer/audit-log.ts';

/** The verifier's result for a whole log. */
export function verifyLogText(text: string): { readonly ok: boolean; readonly lines?: number } {
  const verifier = new LogVerifier();
  for (const line of text.trimEnd().split('\n')) verifier.push(line);
  const result = verifier.end();
  return result.ok ? { ok: true, lines: result.lines } : { ok: false };
}
