"""The hint that a server prints: how others reach it."""

from snyper.client.addresses import is_loopback
from snyper.services.handshake import SHORT_SECRET_CHARS
from snyper.services.sockets import own_address
from snyper.services.wire import PORT


def hint(address: str, port: int, secret: str | None, calls: list[str], properties: list[str]) -> str:
    """Return the address that others reach, what they can call, and how; never the secret. An `address` that
    is empty stands for all of this computer's.
    """
    where = address or "0.0.0.0"
    reached = where if where not in ("0.0.0.0", "::") else own_address()
    options = [f"address={reached!r}"]
    if port != PORT:
        options.append(f"port={port}")
    if secret is not None:
        options.append("secret=...")
    lines = [
        f"Address: {where}:{port} [{'TLS, with a secret' if secret else 'no secret'}]",
        f"Registered calls: {calls}",
        *([f"Registered properties: {properties}"] if properties else []),
        "Auxiliary calls: ['help', 'close']",
        "",
        ">>> from snyper import Client",
        f">>> c = Client({', '.join(options)})",
        *([f">>> c.help({calls[0]!r})", f">>> c.{calls[0]}(...)"] if calls else []),
        "",
    ]
    if secret is None and not is_loopback(where):
        lines.append("No secret: whoever reaches this address may call all of it. Server(..., secret=...)")
    if secret is not None and len(secret) < SHORT_SECRET_CHARS:
        lines.append("The secret is short: who plays this server to a client once can find it by trying.")
    return "\n".join(lines)
