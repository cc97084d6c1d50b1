"""Serves the requests of a console: commands to targets, the list of targets, the stream of events."""

from snyper.firmware.master.controller import HubController
from snyper.firmware.master.router import forward
from snyper.shared.clock import now_ms
from snyper.shared.link import ANY_FOR_ANOTHER, Link
from snyper.shared.runtime import unload
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
    from collections.abc import Callable

    from snyper.firmware.master.game_runner import GameRunner
    from snyper.shared.link import Handler

_ABOUT_GAMES = (
    MessageType.LIST_GAMES,
    MessageType.START_GAME,
    MessageType.STOP_GAME,
    MessageType.GET_GAME,
)


class Console:
    """One registered console. Its `handlers` serve the link it came over. `id_prefix` makes its commands' ids
    its own: a target answers a repeated one again, and that of another console is none. `game_runner(True)`
    gives what runs games, `game_runner(False)` too if any was asked for yet, else None.
    """

    def __init__(
        self, controller: HubController, game_runner: "Callable[[bool], GameRunner | None]", id_prefix: str
    ) -> None:
        self._controller = controller
        self._game_runner = game_runner
        self._id_prefix = id_prefix
        self._subscribed = False
        self.handlers: "dict[str, Handler]" = {
            ANY_FOR_ANOTHER: self._forward,
            MessageType.LIST_TARGETS: self._list_targets,
            MessageType.SUBSCRIBE: self._subscribe,
        }
        serve = self._game  # one object: on a board each `self._game` that is written here takes memory
        for word in _ABOUT_GAMES:
            self.handlers[word] = serve

    async def _forward(self, link: Link, message: SocketMessage) -> "SocketMessage | None":
        return await forward(self._controller, self._id_prefix, link, message)

    async def _list_targets(self, link: Link, message: SocketMessage) -> SocketMessage:
        entries = self._controller.registry.entries()
        for entry in entries:
            data = entry.describe(now_ms())
            await link.send(SocketMessage(MessageType.TARGET, message.id, entry.target_id, data=data))
        return message.reply(MessageType.TARGETS, "ok", {"count": len(entries)})

    async def _game(self, link: Link, message: SocketMessage) -> SocketMessage:
        from snyper.firmware.master.game_console import answer

        unload("snyper.firmware.master.game_console")
        return await answer(self._game_runner, link, message)

    async def _subscribe(self, link: Link, message: SocketMessage) -> None:
        """Send events until the link ends. One that reads too slowly misses some, and one that takes no long
        lines a long one: `seq` shows it.
        """
        events = self._controller.events
        data = message.data or {}
        after = integer_field(data, "after", events.seq, 0, MAX_INTEGER)
        if self._subscribed:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "already subscribed")
        self._subscribed = True
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
                try:
                    await link.send(SocketMessage(MessageType.EVENT, seq, target_id or None, data=about))
                except ProtocolError as error:
                    if error.code != ErrorCode.LINE_TOO_LONG:
                        raise
