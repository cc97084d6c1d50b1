"""Consoles: who commands. What the hub answers them itself; all else goes to whom it is meant for."""

from snyper.firmware.master.forwarding import Forwarder
from snyper.firmware.master.registry import Peer
from snyper.firmware.master.router import is_reading
from snyper.shared.clock import now_ms
from snyper.shared.handshake_server import Role
from snyper.shared.link import ITEMS_PER_TURN, Link
from snyper.shared.link_core import ANY_FOR_ANOTHER
from snyper.shared.runtime import sleep_ms, unload
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.link import Handler


class Console(Peer):
    """One console. Its name may be anybody's."""

    role = Role.CONSOLE
    is_named = False
    _is_subscribed = False

    def handlers(self) -> "dict[str, Handler]":
        """Return what serves its link."""
        self._forwarder = Forwarder(self.hub.router, self.hub.new_id_prefix())
        answer = self._answer  # one object: on a board each `self._answer` takes memory
        handlers: "dict[str, Handler]" = {
            ANY_FOR_ANOTHER: self._forward,
            MessageType.LIST_TARGETS: self._list_targets,
            MessageType.SUBSCRIBE: self._subscribe,
            MessageType.LIST_SERVICES: answer,
            MessageType.LIST_GAMES: answer,
            MessageType.START_GAME: answer,
            MessageType.STOP_GAME: answer,
            MessageType.GET_GAME: answer,
            MessageType.CEASE_FIRE: answer,
            MessageType.RELEASE: answer,
            MessageType.GET_CEASE_FIRE: answer,
        }
        if not self.may_command:
            for word in list(handlers):
                may_be_sent = word in (ANY_FOR_ANOTHER, MessageType.CEASE_FIRE)  # anybody may stop it all
                if not (may_be_sent or is_reading(word)):
                    handlers[word] = self._refuse
        return handlers

    async def _refuse(self, link: Link, message: SocketMessage) -> None:
        """Refuse what needs the right to command. Raises ProtocolError `unauthorized`."""
        raise ProtocolError(ErrorCode.UNAUTHORIZED, "your key may only read: take a console's")

    async def _forward(self, link: Link, message: SocketMessage) -> "SocketMessage | None":
        if not (self.may_command or is_reading(message.type)):
            await self._refuse(link, message)
        return await self._forwarder.forward(link, message)

    async def _list_targets(self, link: Link, message: SocketMessage) -> SocketMessage:
        entries = self.hub.router.registry.entries()
        for at, entry in enumerate(entries):
            if not at % ITEMS_PER_TURN:
                await sleep_ms(0)  # others have their turn
            data = entry.describe(now_ms())
            await link.send(SocketMessage(MessageType.TARGET, message.id, entry.target_id, data=data))
        return message.reply(MessageType.TARGETS, "ok", {"count": len(entries)})

    async def _answer(self, link: Link, message: SocketMessage) -> SocketMessage:
        """Answer what is asked seldom."""
        from snyper.firmware.master.console_requests import answer

        unload("snyper.firmware.master.console_requests")
        return await answer(self, link, message)

    async def _subscribe(self, link: Link, message: SocketMessage) -> None:
        """Send events until the link ends. One that reads too slowly misses some, and one that takes no long
        lines a long one: `seq` shows it.
        """
        events = self.hub.router.events
        data = message.data or {}
        after = integer_field(data, "after", events.seq, 0, MAX_INTEGER)
        if self._is_subscribed:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "already subscribed")
        self._is_subscribed = True
        if data.get("log_id", events.log_id) != events.log_id or after > events.seq:
            after = 0  # another log's count
        seen = {"seq": events.seq, "oldest_seq": events.oldest_seq, "log_id": events.log_id}
        await link.send(message.reply(MessageType.SUBSCRIBED, "ok", seen))
        while True:
            for seq, event, target_id, detail in await events.page(after):
                about = dict(detail)
                about["event"] = event
                about["seq"] = seq
                after = seq
                if not seq % ITEMS_PER_TURN:
                    await sleep_ms(0)
                try:
                    await link.send(SocketMessage(MessageType.EVENT, seq, target_id or None, data=about))
                except ProtocolError as error:
                    if error.code != ErrorCode.LINE_TOO_LONG:
                        raise
