"""A hub that reads each stream once, for as many as want it."""

import asyncio
from typing import Any

from snyper.firmware.master.registry import Peer
from snyper.hub import preloaded  # noqa: F401 - to have them loaded at the start
from snyper.hub.stream_fan import StreamFan
from snyper.hub.tls import TlsHub
from snyper.shared.handshake_server import Registration
from snyper.shared.link import Link
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage
from snyper.shared.stream_spec import (
    ANNOUNCE_STREAMS,
    LIST_STREAMS,
    MAX_STREAMS,
    READ_STREAM,
    STOP,
    brief,
    checked_name,
    checked_spec,
)


class StreamHub(TlsHub):
    """A hub with a fan-out of streams. A hub board forwards each reader's request instead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fan = StreamFan(self.router.registry, f"{self.boot_id}-stream-")

    def serve_peer(self, link: Link, message: SocketMessage, registration: Registration) -> Peer:
        """Admit a peer, and serve it streams: a console others', the rest their own."""
        streams = (message.data or {}).get("streams")
        announced = None if streams is None else _announced(streams)
        peer = super().serve_peer(link, message, registration)
        if peer.is_named:
            _Source(self.fan, peer, link)
            if announced is not None:
                self.fan.announce(peer.target_id, announced)
        else:
            _Console(self.fan, peer, link)
        return peer

    def _put_out(self) -> None:
        super()._put_out()
        self.fan.sweep()


class _Source:
    """A peer that others may read."""

    def __init__(self, fan: StreamFan, peer: Peer, link: Link) -> None:
        self._fan = fan
        self._peer = peer
        self._link = link
        link.handlers[ANNOUNCE_STREAMS] = self._announce
        link.on_stream = self._on_item
        fan.on_registered(peer.target_id)

    def _on_item(self, message: SocketMessage) -> None:
        if not self._fan.take(self._link, message):
            self._peer.on_item(message)

    async def _announce(self, link: Link, message: SocketMessage) -> SocketMessage:
        self._fan.announce(self._peer.target_id, _announced((message.data or {}).get("streams")))
        return message.reply(MessageType.REPLY, "ok")


class _Console:
    """A console that may read streams."""

    def __init__(self, fan: StreamFan, peer: Peer, link: Link) -> None:
        self._fan = fan
        self._peer = peer
        self._link = link
        link.handlers[READ_STREAM] = self._read
        link.handlers[LIST_STREAMS] = self._list
        link.on_stream = self._on_item
        link.on_close = self._on_close

    def _on_item(self, message: SocketMessage) -> None:
        if message.status != STOP:
            self._peer.on_item(message)
        elif not self._fan.stop(self._link, message.id):
            # The request may have come in one piece with this, and is served in a task that has not begun.
            asyncio.get_running_loop().call_soon(self._fan.stop, self._link, message.id)

    def _on_close(self, link: Link, error: ProtocolError) -> None:
        self._fan.drop_link(link)
        self._peer.on_close(link, error)

    async def _read(self, link: Link, message: SocketMessage) -> None:
        self._fan.subscribe(link, message)

    async def _list(self, link: Link, message: SocketMessage) -> SocketMessage:
        found = self._fan.list()
        for source, data in found:
            await link.send(SocketMessage(MessageType.ITEM, message.id, source, None, data))
        return message.reply(MessageType.REPLY, "ok", {"count": len(found)})


def _announced(streams: Any) -> dict[str, dict[str, Any]]:
    """Return the streams that a peer says it has, checked. Raises ProtocolError `bad_message`."""
    if not isinstance(streams, dict) or len(streams) > MAX_STREAMS:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, f"`streams` has at most {MAX_STREAMS} names, each a spec")
    try:
        return {checked_name(name): brief(checked_spec(streams[name])) for name in streams}
    except ValueError as error:
        raise ProtocolError(ErrorCode.BAD_MESSAGE, str(error)) from None
