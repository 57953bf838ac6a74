/** Has the credentials of one certificate signed by a signer process, which holds the key. */
import type { CredentialSigner } from '../credential/credential-signer.ts';
import { printable } from '../text/printable.ts';
import { SigningRefusedError } from './errors.ts';
import type { SigningBatcher } from './signing-batcher.ts';

const MAX_MESSAGE_LENGTH = 300;

/**
 * @param certificateName as the signer knows it
 *
 * `signCredential` throws SigningRefusedError, SignerUnavailableError, or the signal's reason.
 */
export function remoteSigner(batcher: Pick<SigningBatcher, 'sign'>, certificateName: string): CredentialSigner {
  return {
    async signCredential(request, { signal = new AbortController().signal }) {
      const { certificate, dcCertVerifyAlgorithm, expiresAt, holder, subjectPublicKeyInfo, usage } = request;
      if (holder === undefined) throw new TypeError('expected the pod of the credential, found none');
      const fields = { certificate: certificateName, usage, dcCertVerifyAlgorithm, subjectPublicKeyInfo, expiresAt };
      const result = await batcher.sign({ ...fields, ...holder }, signal);
      if (!result.ok) throw new SigningRefusedError(result.reason, printable(result.message, MAX_MESSAGE_LENGTH));
      if (result.certificateSha256 === certificate.sha256) return Buffer.from(result.credential, 'base64');
      throw new SigningRefusedError(
        'CertificateOutdated',
        'the signer uses another certificate than the one read last',
      );
    },
  };
}
