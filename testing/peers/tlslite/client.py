"""
A TLS 1.3 handshake by tlslite-ng, and the delegated credential that it got, as hexadecimal digits; "none" where it got none.

    client.py HOST PORT NAME

tlslite-ng verifies the credential's signature with the leaf, and the handshake's with the credential; it does not check the chain
here. Ends with status 1 where the handshake fails, and says why.
"""
import socket
import sys

from tlslite.api import HandshakeSettings, TLSConnection
from tlslite.constants import SignatureScheme

TIMEOUT_SECONDS = 120
SCHEMES = [
    SignatureScheme.ecdsa_secp256r1_sha256,
    SignatureScheme.ecdsa_secp384r1_sha384,
    SignatureScheme.ecdsa_secp521r1_sha512,
    SignatureScheme.ed25519,
]


def main(host, port, name):
    settings = HandshakeSettings()
    settings.minVersion = (3, 4)
    settings.dc_sig_algs = SCHEMES
    with socket.create_connection((host, int(port)), timeout=TIMEOUT_SECONDS) as connection:
        tls = TLSConnection(connection)
        tls.handshakeClientCert(serverName=name, settings=settings)
        credential = tls.session.delegated_credential
        print("none" if credential is None else credential.write().hex())
        tls.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:  # whatever it is, it is the handshake's end
        sys.exit(f"{type(error).__name__}: {error}")
