"""Serves the requests of consoles about games. Loaded for each: they are seldom."""

from snyper.shared.link import Link
from snyper.shared.socket_protocol import ALL_TARGETS, ErrorCode, MessageType, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.master.game_runner import GameRunner
    from snyper.firmware.master.server import Hub


async def answer(hub: "Hub", link: Link, message: SocketMessage) -> SocketMessage:
    """Answer LIST_GAMES, START_GAME, STOP_GAME or GET_GAME. Raises ProtocolError: `bad_message`, or what
    `GameRunner.start` refuses: `busy`, `unknown_target`.
    """
    runner = hub.game_runner if message.type == MessageType.GET_GAME else hub.games
    if runner is None:
        return message.reply(MessageType.GAME_STATE, "none", {})
    if message.type == MessageType.LIST_GAMES:
        names = runner.names()
        for name in names:
            await link.send(SocketMessage(MessageType.GAME, message.id, data=runner.describe(name)))
        return message.reply(MessageType.GAMES, "ok", {"count": len(names)})
    if message.type == MessageType.START_GAME:
        return _stated(message, MessageType.GAME_STARTED, _start(runner, message))
    if message.type == MessageType.STOP_GAME:
        return _stated(message, MessageType.GAME_STOPPED, await runner.stop())
    return _stated(message, MessageType.GAME_STATE, runner.state())


def _start(runner: "GameRunner", message: SocketMessage) -> "dict[str, object]":
    data = message.data or {}
    players = data.get("players", [])
    if type(players) is not list:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "`players` is a list of names")
    name = data.get("game")
    if type(name) is not str:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "`game` is the name of one")
    options = data.get("options", {})
    if type(options) is not dict:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "`options` is an object")
    seed = data.get("seed")
    if seed is not None and type(seed) is not int:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, "`seed` is an integer")
    return runner.start(name, players, options, seed, message.target_id or ALL_TARGETS)


def _stated(message: SocketMessage, message_type: str, state: "dict[str, object]") -> SocketMessage:
    data = dict(state)
    return message.reply(message_type, str(data.pop("status")), data)
