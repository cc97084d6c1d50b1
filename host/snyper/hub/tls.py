"""A hub whose peers may speak TLS, on the same port; and its certificate, which is made once."""

import shlex
import ssl
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from snyper.client.certificate import load, unusable
from snyper.client.key_store import warn_of_access
from snyper.hub.access import KeyedHub
from snyper.shared.tls_cpython import TlsStream
from snyper.system.files import locked, write_private

# A board has no clock at power-up, and the targets know the certificate itself. The end is the one that says
# that there is none (RFC 5280, 4.1.2.5).
_NAME = "snyper-hub"  # which shared/tls_micropython.py asks for
_FROM = datetime(2000, 1, 1, tzinfo=UTC)
_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class TlsHub(KeyedHub):
    """A hub whose peers may speak TLS, where `tls` has what is needed for that."""

    tls: tuple[ssl.SSLContext, bytes] | None = None

    async def _serve(self, stream: Any) -> None:
        if self.tls is not None:
            context, shown = self.tls
            stream = TlsStream(stream, context, True, shown)
        await super()._serve(stream)


def server_tls(path: Path) -> tuple[ssl.SSLContext, bytes]:
    """Return what a hub speaks TLS with: a context, and the certificate (DER) in the file `path`, which is
    made when there is no such file.

    Raises OSError, ValueError for a file that holds none, or when what makes it is not installed.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with locked(path.with_name(f".{path.name}.lock")):
        if not path.exists():
            write_private(path, _make())
    warn_of_access(path)
    shown = load(path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # MicroPython's
    context.num_tickets = 0  # nobody resumes
    context.options |= ssl.OP_NO_TICKET
    try:
        context.load_cert_chain(path)
    except ssl.SSLError:
        raise unusable(path) from None
    return context, shown


def _make() -> bytes:
    """Make a private key (ECDSA, P-256) and a certificate that it signs itself; return both as PEM. Raises
    ValueError where `cryptography` is not installed.
    """
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError:
        pip = f"{shlex.quote(sys.executable)} -m pip install 'snyper[tls]'"
        raise ValueError(f"--tls needs cryptography, which is not installed: {pip}") from None

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, _NAME)])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + built.public_bytes(serialization.Encoding.PEM)
