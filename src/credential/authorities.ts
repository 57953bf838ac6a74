/** Checks the certificates that a TLS client is given to trust. */
import { X509Certificate } from 'node:crypto';
import { certificateDer, isCertificateBlock } from './certificate.ts';
import { CertificateError } from './errors.ts';
import { PemError, readPem } from './pem.ts';
import { recognise } from './recognise.ts';

/**
 * Throws CertificateError where TLS would trust fewer certificates than a person reads in the file: it skips a block that is indented,
 * quoted or glued to another one, stops at one that it cannot parse, and reports neither. Text around blocks is no fault.
 */
export function checkAuthorities(pem: string): void {
  const blocks = blocksOf(pem).filter(isCertificateBlock);
  if (blocks.length === 0) {
    throw invalid(recognise(Buffer.from(pem)) ?? 'there is no line "-----BEGIN CERTIFICATE-----"');
  }
  for (const [position, block] of blocks.entries()) {
    try {
      new X509Certificate(certificateDer(block));
    } catch (cause) {
      throw invalid(`certificate ${position + 1} of ${blocks.length} is not an X.509 certificate`, { cause });
    }
  }
}

function blocksOf(pem: string) {
  try {
    return readPem(pem);
  } catch (error) {
    throw error instanceof PemError ? invalid(error.message, { cause: error }) : error;
  }
}

function invalid(message: string, options?: ErrorOptions): CertificateError {
  return new CertificateError('CertificateInvalid', message, options);
}
