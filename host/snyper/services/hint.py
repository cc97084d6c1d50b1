"""The hint that a server prints: how others reach it."""

from snyper.client.addresses import is_loopback
from snyper.services.handshake import SHORT_SECRET_CHARS
from snyper.services.sockets import own_address
from snyper.services.wire import PORT
from snyper.shared.address import format_address


def hint(
    address: tuple[str, int] | None,
    hub: tuple[str, str] | None,
    secret: str | None,
    calls: list[str],
    properties: list[str],
) -> str:
    """Return the address that others reach, what they can call, and how; never the secret. A host that is
    empty stands for all of this computer's; `hub` is its address, and the name of the service there.
    """
    has_secret = "TLS, with a secret" if secret else "no secret"
    lines, clients = [], []
    if address is not None:
        lines.append(f"Address: {format_address(address[0] or '0.0.0.0', address[1])} [{has_secret}]")
        clients.append(_client(_options(*address), secret))
    if hub is not None:
        lines.append(f"Service: {hub[1]} at the hub {hub[0]} [{has_secret}]")
        clients.append(_client([f"hub={hub[0]!r}", f"name={hub[1]!r}"], secret))
    lines += [
        f"Registered calls: {calls}",
        *([f"Registered properties: {properties}"] if properties else []),
        "Auxiliary calls: ['help', 'close']",
        "",
        ">>> from snyper import Client",
        *clients,
        *([f">>> c.help({calls[0]!r})", f">>> c.{calls[0]}(...)"] if calls else []),
        "",
    ]
    if secret is None and address is not None and not is_loopback(address[0] or "0.0.0.0"):
        lines.append("No secret: whoever reaches this address may call all of it. Server(..., secret=...)")
    if secret is not None and len(secret) < SHORT_SECRET_CHARS:
        lines.append("The secret is short: who plays this server to a client once can find it by trying.")
    return "\n".join(lines)


def _options(host: str, port: int) -> list[str]:
    reached = host if host not in ("", "0.0.0.0", "::") else own_address()
    return [f"address={reached!r}", *([f"port={port}"] if port != PORT else [])]


def _client(options: list[str], secret: str | None) -> str:
    return f">>> c = Client({', '.join([*options, *(['secret=...'] if secret is not None else [])])})"
