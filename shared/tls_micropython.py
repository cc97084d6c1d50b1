"""TLS on MicroPython, for the side that dialled. `tls_cpython.py` has the same, and the hub's side."""

import asyncio
from binascii import a2b_base64
from errno import ETIMEDOUT
from hashlib import sha256

import tls

from snyper.shared.runtime import Stream, unload
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

_CERTIFICATE_NAME = (
    "snyper-hub"  # of every hub's: it is known by itself, and this runtime asks for a name too
)


async def secure(stream: "Any", certificate: str, timeout_ms: int) -> Stream:
    """Put TLS onto a stream that has just dialled, within `timeout_ms`, and return it. The hub has to show
    this `certificate` (base64 of DER): a board cannot look at the one that it is shown.

    Raises OSError, ProtocolError `unauthorized` for another certificate, or for a text that is none; the
    stream is closed then. May be cancelled.
    """
    unload("snyper.shared.tls_micropython")  # this
    context: "Any" = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
    context.verify_mode = tls.CERT_REQUIRED
    try:
        shown = a2b_base64(certificate)
        context.load_verify_locations(shown)
        stream._sock = context.wrap_socket(
            stream._sock, server_hostname=_CERTIFICATE_NAME, do_handshake_on_connect=False
        )
        await asyncio.wait_for_ms(_shake_hands(stream._sock), timeout_ms)
        stream.binding = sha256(shown).digest()
        return stream  # type: ignore[no-any-return]
    except BaseException as error:
        await stream.close()
        if isinstance(error, asyncio.TimeoutError):
            raise OSError(ETIMEDOUT, "no answer")
        if isinstance(error, ValueError):  # as which mbedTLS says that it does not trust
            raise ProtocolError(
                ErrorCode.UNAUTHORIZED, "another certificate than the hub's: deploy this target again"
            )
        raise


async def _shake_hands(sock: "Any") -> None:
    # With the first write, before which nothing may be read on this runtime. An empty line means nothing.
    while not sock.write(b"\n"):
        await _writable(sock)  # type: ignore[misc]


def _writable(sock: "Any") -> "Generator[None, None, None]":
    yield asyncio.core._io_queue.queue_write(sock)  # type: ignore[attr-defined]
