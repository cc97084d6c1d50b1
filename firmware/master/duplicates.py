"""Duplicate names: which of two boards that want one name keeps it. Loaded only when that happens."""

from snyper.shared.clock import now_ms, now_us
from snyper.shared.log import keep
from snyper.shared.runtime import unload
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage, text_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.router import Router
    from snyper.firmware.master.server import Hub
    from snyper.shared.handshake_server import Registration
    from snyper.shared.link import Link

# What a board that seems to be here twice has to answer: longer than Wi-Fi delays it, and one that has booted
# anew is still in within 2 s.
PROBE_MS = 1_000
DUPLICATE_QUIET_MS = 600_000  # longer than any target waits before it tries again
_STALE_MS = 250  # what is read so soon after that question may have been said before a reboot


def admit_after_probe(hub: "Hub", link: "Link", message: SocketMessage, registration: "Registration") -> None:
    """Admit a board whose name and hardware id are connected already, unless that connection is alive."""
    link.admit = _ask_to_wait
    link.handlers = {MessageType.REGISTER: lambda link, message: _probe(hub, link, message, registration)}
    link.handle(message)


def record_duplicate(router: "Router", registration: SocketMessage, why: ProtocolError) -> None:
    """Record that another board is refused a name, or the hardware id of that: once, until nobody has tried
    for DUPLICATE_QUIET_MS.
    """
    from snyper.firmware.master.admission import holder

    unload("snyper.firmware.master.admission")
    peer = holder(
        router.registry, registration.target_id, text_field(registration.data or {}, "hardware_id", "")
    )
    if peer is None:
        return  # it has gone meanwhile
    before_ms, peer.refused_ms = peer.refused_ms, now_ms()
    if before_ms is None or peer.refused_ms - before_ms > DUPLICATE_QUIET_MS:
        keep("hub", why.message)
        if peer.is_target:
            router.events.add("duplicate", peer.target_id, {"message": why.message})


async def _probe(hub: "Hub", link: "Link", message: SocketMessage, registration: "Registration") -> None:
    """Admit a board, unless the one that is here already answers: then they are two."""
    from snyper.firmware.master.admission import live_link, refuse_registration

    unload("snyper.firmware.master.admission")
    silent: "Link | None" = None
    try:
        while True:
            live = live_link(hub.router.registry, registration)
            if live is None or live is silent:
                break
            if await _answers(live):
                raise ProtocolError(
                    ErrorCode.DUPLICATE_TARGET,
                    "another board with this hardware id is connected as %s: stop one of the two,"
                    " or one of two simulators" % live.name,
                )
            silent = live
        if link.close_error is None:
            hub.serve_peer(link, message, registration)
    except ProtocolError as error:
        refuse_registration(hub, link, message, error)


def _ask_to_wait(link: "Link", message: SocketMessage) -> None:
    """Answer what a peer says while it is not known yet whether it is admitted."""
    error = ProtocolError(ErrorCode.BUSY, "your `register` is not answered yet")
    link.send_nowait(error.to_message(message.id, message.target_id))


async def _answers(link: "Link") -> bool:
    """Ping a peer, and return whether it is alive. Takes at most PROBE_MS."""
    asked_us = now_us()
    try:
        await link.exchange(SocketMessage(MessageType.PING, link.new_id()), PROBE_MS)
        return True
    except ProtocolError as error:
        # Some answer no `ping`, and speak all the same.
        return error.code == ErrorCode.TIMEOUT and link.received_us - asked_us > _STALE_MS * 1000
