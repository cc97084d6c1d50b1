"""A hub whose peers may speak TLS, on the same port; and its certificate, which is made once."""

import shlex
import ssl
import sys
from pathlib import Path
from typing import Any

from snyper.client.certificate import load, unusable
from snyper.client.key_store import warn_of_access
from snyper.hub.access import KeyedHub
from snyper.shared.tls_cpython import TlsStream
from snyper.system.files import locked, write_private


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
    if not path.exists():  # else it is only read, also on a disk that takes nothing
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                write_private(path, _made())
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


def _made() -> bytes:
    try:
        from snyper.system.self_signed import make_certificate
    except ImportError:
        pip = f"{shlex.quote(sys.executable)} -m pip install 'snyper[tls]'"
        raise ValueError(f"--tls needs cryptography, which is not installed: {pip}") from None
    return make_certificate()
