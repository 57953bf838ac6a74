/** From why a credential could not be made to what the pod's owner has to know. */
import { CertificateError, UnexpectedCredentialError } from '../../credential/errors.ts';
import { SignerUnavailableError, SigningRefusedError } from '../../signer-client/errors.ts';
import { PodFailure } from '../pod-failure.ts';
import { UnverifiedCredentialError } from './issuer.ts';

/** A certificate that has just expired is the resource's matter. */
export function issueFailure(error: unknown): unknown {
  if (error instanceof CertificateError) return error;
  const { shown, transient } = describeIssueFailure(error);
  return new PodFailure('IssueFailed', `issuing failed and is retried: ${shown}`, { cause: error, transient });
}

/** The error of a key in a vault may hold anything: only its kind is shown. */
function describeIssueFailure(error: unknown): { readonly shown: string; readonly transient: boolean } {
  if (error instanceof SignerUnavailableError) return { shown: error.message, transient: true };
  if (error instanceof SigningRefusedError) {
    return { shown: `the signer refuses (${error.code}): ${error.message}`, transient: error.transient };
  }
  if (error instanceof UnverifiedCredentialError || error instanceof UnexpectedCredentialError) {
    return { shown: error.message, transient: false };
  }
  return { shown: `the signer failed (${kindOf(error)})`, transient: false };
}

function kindOf(error: unknown): string {
  return error instanceof Error ? error.name : typeof error;
}
