"""The face of a signal: who opens the WebSocket gets its packets, and anybody starts and stops them."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus

from snyper.arrays.packet_format import SUBPROTOCOL
from snyper.device.serving.exchange import Exchange, HungUp, Refusal
from snyper.device.strict_json import parse_strictly
from snyper.gateway.app import Gateway
from snyper.gateway.stream_delivery import Delivery, Listener
from snyper.gateway.web_socket import WebSocket
from snyper.streams.packet import PacketSource

PATH = "/ws/stream"
_PAUSE_S = 0.002  # after each message: a flood of them takes a tenth of a processor


@asynccontextmanager
async def serving_stream(gateway: Gateway, source: PacketSource) -> AsyncIterator[Delivery]:
    """Serve a signal to WebSockets for the block."""
    delivery = Delivery(source)
    limits = gateway.limits
    routes = _StreamRoutes(delivery, limits["listeners"], limits["per_address"] // 2)
    gateway.add_web_socket(PATH, routes.listen)
    gateway.add("POST", "/control/start", routes.start)
    gateway.add("POST", "/control/stop", routes.stop)
    gateway.add_state(delivery.health)
    delivering = asyncio.create_task(delivery.run())
    try:
        yield delivery
    finally:
        delivering.cancel()
        await asyncio.wait([delivering])


class _StreamRoutes:
    def __init__(self, delivery: Delivery, most: int, most_of_address: int) -> None:
        self._delivery = delivery
        self._most = most
        self._most_of_address = most_of_address
        self._of_address: Counter[str] = Counter()

    async def start(self, exchange: Exchange) -> None:
        """Start the delivery to everybody. Nobody is told."""
        self._delivery.start()
        await exchange.answer_json({"status": "streaming started"})

    async def stop(self, exchange: Exchange) -> None:
        """Stop the delivery to everybody."""
        self._delivery.stop()
        await exchange.answer_json({"status": "streaming stopped"})

    async def listen(self, web_socket: WebSocket) -> None:
        """Serve somebody who listens. Raises Refusal, HungUp."""
        is_full = self._delivery.count >= self._most
        if is_full or self._of_address[web_socket.address] >= self._most_of_address:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "too many listen", {"retry-after": "1"})
        is_binary = SUBPROTOCOL in web_socket.subprotocols
        with self._counted(web_socket.address), self._delivery.listening() as listener:
            await web_socket.accept(SUBPROTOCOL if is_binary else None)
            sending = asyncio.create_task(_send_packets(web_socket, listener, is_binary))
            try:
                while True:
                    await self._answer(web_socket, listener, await web_socket.receive())
            finally:
                sending.cancel()

    @contextmanager
    def _counted(self, address: str) -> Iterator[None]:
        self._of_address[address] += 1
        try:
            yield
        finally:
            self._of_address[address] -= 1
            self._of_address += Counter()  # which forgets who has none

    async def _answer(self, web_socket: WebSocket, listener: Listener, message: str | bytes) -> None:
        """Do what a message says. Its answer is on its way before any data that it starts."""
        match _action(message):
            case "start":
                await _say(web_socket, {"type": "status", "streaming": True})
                listener.heed()
                self._delivery.start()
            case "stop":
                self._delivery.stop()
                await _say(web_socket, {"type": "status", "streaming": False})
            case "ping":
                await _say(web_socket, {"type": "pong"})
            case _:
                why = 'it is no {"action": "start"}, "stop" or "ping"'
                await _say(web_socket, {"type": "error", "message": why})
        await asyncio.sleep(_PAUSE_S)


def _action(message: str | bytes) -> object:
    """Return the action that a message asks for, None for none."""
    try:
        value = parse_strictly(message)
    except ValueError:
        return None
    return value.get("action") if isinstance(value, dict) else None


async def _say(web_socket: WebSocket, value: dict[str, object]) -> None:
    await web_socket.send(json.dumps(value))


async def _send_packets(web_socket: WebSocket, listener: Listener, is_binary: bool) -> None:
    """Send what comes to a listener, as fast as he takes it, until he is gone."""
    try:
        while True:
            frames = await listener.take()
            await web_socket.send(frames.binary if is_binary else frames.text)
    except HungUp:
        pass  # which whoever waits for his messages is told, too
