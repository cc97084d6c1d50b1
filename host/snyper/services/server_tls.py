"""TLS as a server speaks it, with a certificate that it makes for each run."""

import shlex
import ssl
import sys
import tempfile
from hashlib import sha256
from pathlib import Path

from snyper.system.files import write_private


def make_tls() -> tuple[ssl.SSLContext, bytes]:
    """Return what a server speaks TLS with, and the hash of the certificate that it has made for this run.

    Raises RuntimeError where `cryptography` is not installed.
    """
    try:
        from snyper.system.self_signed import make_certificate
    except ImportError:
        pip = f"{shlex.quote(sys.executable)} -m pip install 'snyper[tls]'"
        raise RuntimeError(f"a secret needs cryptography, which is not installed: {pip}") from None
    pem = make_certificate()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "certificate.pem")
        write_private(path, pem)
        context.load_cert_chain(path)
    begin = pem.index(b"-----BEGIN CERTIFICATE")
    return context, sha256(ssl.PEM_cert_to_DER_cert(pem[begin:].decode())).digest()
