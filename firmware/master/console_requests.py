"""Serves what consoles ask about services, games and a cease fire. Loaded for each: they are seldom."""

from snyper.shared.clock import now_ms
from snyper.shared.handshake_server import Role
from snyper.shared.link import ITEMS_PER_TURN, Link
from snyper.shared.runtime import collect_garbage, sleep_ms, unload
from snyper.shared.socket_protocol import ALL_TARGETS, ErrorCode, MessageType, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.firmware.master.cease_fire import Lowering
    from snyper.firmware.master.game_runner import GameRunner
    from snyper.firmware.master.roles.console import Console
    from snyper.firmware.master.server import Hub

_RETRY_MS = 100


async def answer(console: "Console", link: Link, message: SocketMessage) -> SocketMessage:
    """Answer LIST_SERVICES, LIST_GAMES, START_GAME, STOP_GAME, GET_GAME, CEASE_FIRE, RELEASE or
    GET_CEASE_FIRE.

    Raises ProtocolError: `bad_message`, or what `GameRunner.start` refuses: `busy`, `unknown_target`,
    `cease_fire`; what `CeaseFire.release` refuses: `fault`, `cease_fire`.
    """
    hub = console.hub
    if message.type == MessageType.LIST_SERVICES:
        return await _list_services(hub, link, message)
    if message.type in (MessageType.CEASE_FIRE, MessageType.RELEASE, MessageType.GET_CEASE_FIRE):
        return await _answer_cease_fire(hub, link, message, console.target_id)
    games = hub.game_runner if message.type == MessageType.GET_GAME else hub.games
    if games is None:
        return message.reply(MessageType.GAME_STATE, "none", {})
    if message.type == MessageType.LIST_GAMES:
        names = games.names()
        for name in names:
            await link.send(SocketMessage(MessageType.GAME, message.id, data=games.describe(name)))
        return message.reply(MessageType.GAMES, "ok", {"count": len(names)})
    if message.type == MessageType.START_GAME:
        return _stated(message, MessageType.GAME_STARTED, _start(games, message))
    if message.type == MessageType.STOP_GAME:
        return _stated(message, MessageType.GAME_STOPPED, await games.stop())
    return _stated(message, MessageType.GAME_STATE, games.state())


async def call_cease_fire(hub: "Hub", data: "dict[str, Any]", name: str) -> "Lowering":
    """Stop the game, lower every target and keep it so until a person releases it: see `hold`. Waits for
    memory, which the game gives back.
    """
    if hub.game_runner is not None:
        hub.game_runner.halt()
    while True:
        try:
            collect_garbage()
            from snyper.firmware.master.cease_fire import hold

            return hold(hub, data, name)
        except MemoryError:
            await sleep_ms(_RETRY_MS)


async def _list_services(hub: "Hub", link: Link, message: SocketMessage) -> SocketMessage:
    found: "list[Any]" = [peer for peer in hub.router.registry.named.values() if peer.role == Role.SERVICE]
    for at, peer in enumerate(found):
        if not at % ITEMS_PER_TURN:
            await sleep_ms(0)  # others have their turn
        other = peer.link
        data: "dict[str, object]" = {
            "connected": other is not None,
            "firmware": peer.firmware,
            "seen_ms_ago": 0 if other is not None else now_ms() - peer.last_seen_ms,
        }
        if other is not None and other.round_trip_us is not None:
            data["round_trip_us"] = other.round_trip_us
        await link.send(SocketMessage(MessageType.ITEM, message.id, peer.target_id, data=data))
    return message.reply(MessageType.REPLY, "ok", {"count": len(found)})


async def _answer_cease_fire(hub: "Hub", link: Link, message: SocketMessage, name: str) -> SocketMessage:
    lowering = None
    if message.type == MessageType.CEASE_FIRE:
        lowering = await call_cease_fire(hub, message.data or {}, name)
    from snyper.firmware.master import cease_fire

    try:
        return await cease_fire.answer(hub, link, message, name, lowering)
    finally:
        if hub.router.cease_fire is None:
            unload("snyper.firmware.master.cease_fire")


def _start(games: "GameRunner", message: SocketMessage) -> "dict[str, object]":
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
    return games.start(name, players, options, seed, message.target_id or ALL_TARGETS)


def _stated(message: SocketMessage, message_type: str, state: "dict[str, object]") -> SocketMessage:
    data = dict(state)
    return message.reply(message_type, str(data.pop("status")), data)
