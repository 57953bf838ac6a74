import { findNodeSupport } from './support.ts';

/** Why no node can run here, as node:test's `skip` wants it; false where one can. With CI=true that is an error, not a skip. */
export async function whyNoNode(): Promise<string | false> {
  const support = await findNodeSupport();
  if (support.available) return false;
  if (process.env['CI'] === 'true') throw new Error(`in CI a real node must be there: ${support.reason}`);
  return support.reason;
}
