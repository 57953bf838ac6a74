/** Which signer a resource's credentials come from: by the flags of the operator that serves it, and by what that operator reports. Pure. */
import type { DelegatedCredentialStatus } from '../api/delegated-credential.ts';
import { type Installed, operatorOf, signerUrl } from '../check/installation.ts';

export interface SignerFact {
  /** Where the operator finds it; undefined where I may not see the operator's Deployment. */
  readonly url: string | undefined;
  /** Where it runs in this cluster. */
  readonly deployment: { readonly name: string; readonly replicas: number; readonly available: number } | undefined;
  /** By the operator's word: it does not answer, or it has no answer about the resource's certificate. */
  readonly problem: 'silent' | 'no-certificate' | undefined;
}

/** A resource without a certificate is not Ready for either reason; the condition is there where the signer is silent. */
function problemOf(conditions: NonNullable<DelegatedCredentialStatus['conditions']>): SignerFact['problem'] {
  const unavailable = conditions.filter(({ reason, status }) => reason === 'SignerUnavailable' && status !== 'True');
  if (unavailable.length === 0) return undefined;
  return unavailable.some(({ type }) => type === 'SignerAvailable') ? 'silent' : 'no-certificate';
}

/** Undefined where the operator signs itself, or nothing shows that it does not. @param installed undefined: I may not list Deployments */
export function signerOf(
  namespace: string,
  { conditions = [] }: DelegatedCredentialStatus,
  installed: readonly Installed[] | undefined = [],
): SignerFact | undefined {
  const problem = problemOf(conditions);
  const url = signerUrl(operatorOf(namespace, installed)?.args ?? []);
  if (url === undefined && problem === undefined) return undefined;
  const host = URL.parse(url ?? '')?.hostname ?? '';
  const signers = installed.filter(({ component }) => component === 'signer');
  // By the chart, the Service of a signer has the name of its Deployment.
  const signer = signers.find((one) => host === one.name || `${host}.`.startsWith(`${one.name}.${one.namespace}.`));
  return {
    url,
    deployment: signer && {
      name: `${signer.namespace}/${signer.name}`,
      replicas: signer.replicas,
      available: signer.available,
    },
    problem,
  };
}
