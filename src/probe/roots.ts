/**
 * The CAs that a probe trusts. A system's store has over a hundred, and to read them all takes longer than the rest of a probe: those
 * whose name the served certificates have as an issuer are read first, and the others only where these lead nowhere.
 */
import { getCACertificates } from 'node:tls';
import { type Certificate, readCertificateChain } from '../credential/certificate.ts';
import { readElement, readElements, readFirstElement, TAG } from '../credential/der.ts';

export interface TrustedRoots {
  /** Those that may have issued one of these certificates: every one that is named, byte for byte, as an issuer of them. */
  named(chain: readonly Certificate[]): readonly Certificate[];
  all(): readonly Certificate[];
}

export function givenRoots(certificates: readonly Certificate[]): TrustedRoots {
  return { named: () => certificates, all: () => certificates };
}

/** The system's store; where that has none, the one that Node brings. A root that cannot be read is left out. */
export function systemRoots(): TrustedRoots {
  let loaded: readonly string[] | undefined;
  const store = () => {
    if (loaded !== undefined) return loaded;
    const system = getCACertificates('system');
    loaded = system.length > 0 ? system : getCACertificates('bundled');
    return loaded;
  };
  return rootsOf(store);
}

/** Of one PEM block each. */
export function rootsOf(store: () => readonly string[]): TrustedRoots {
  return {
    named: (chain) => {
      const names = chain.map(({ der }) => Buffer.from(issuerName(der)));
      return store()
        .filter((pem) => {
          const der = Buffer.from(pem.replaceAll(/-----[^-\n]+-----/g, ''), 'base64');
          return names.some((name) => der.includes(name));
        })
        .flatMap(read);
    },
    all: () => store().flatMap(read),
  };
}

function read(pem: string): readonly Certificate[] {
  try {
    return readCertificateChain(pem);
  } catch {
    return [];
  }
}

/** The encoded Name: TBSCertificate is version (may be absent), serialNumber, signature, issuer and so on. RFC 5280, section 4.1. */
function issuerName(der: Uint8Array): Uint8Array {
  const fields = readElements(readFirstElement(readElement(der, TAG.sequence).content, TAG.sequence).content);
  const issuer = fields[fields[0]?.tag === TAG.version ? 3 : 2];
  if (issuer === undefined) throw new TypeError('a certificate that was read has an issuer');
  return issuer.encoded;
}
