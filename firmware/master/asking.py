"""Requests of targets and services to a service that is there for them. Loaded with the first."""

from snyper.firmware.master.forwarding import Forwarder
from snyper.shared.link_core import ANY_FOR_ANOTHER
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.server import Hub
    from snyper.shared.link import Link


async def answer(hub: "Hub", link: "Link", message: SocketMessage) -> "SocketMessage | None":
    """Pass on what a target or a service asks, and have `link` do so itself from now on.

    Raises ProtocolError: `bad_message` for another `register`, `unknown_type` where whom it is for is not
    there for devices, `unknown_target`, `line_too_long`.
    """
    if message.type == MessageType.REGISTER:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "already registered")
    forwarder = Forwarder(hub.router, hub.new_id_prefix())

    async def forward(link: "Link", message: SocketMessage) -> "SocketMessage | None":
        name = message.target_id or ""
        peer = hub.router.registry.named.get(name)  # and nobody else: no group, no console
        if peer is None:
            raise ProtocolError(ErrorCode.UNKNOWN_TARGET, "no service is %s" % name)
        if not peer.devices:
            raise ProtocolError(ErrorCode.UNKNOWN_TYPE, "%s answers consoles alone" % name)
        return await forwarder.forward(link, message)

    link.handlers[ANY_FOR_ANOTHER] = forward
    return await forward(link, message)
