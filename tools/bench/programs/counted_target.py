"""A target without a board, whose messages are counted. For MicroPython, with the port of its hub, and its
key where it has one.

It is the firmware's own link, motion, outbox and health, on virtual hardware. Beside its own types it answers
`mark` with the bytes that it has allocated since it was started, and `report_hits` once `count` hits, one
after the other, were reported and acknowledged.
"""

import asyncio
import sys

import micropython

from snyper.firmware.target.config import read
from snyper.firmware.target.peripherals import Piezo, Servo
from snyper.firmware.target.target import Target
from snyper.shared.handshake_client import prove_key
from snyper.shared.link import Link
from snyper.shared.runtime_micropython import dial, now_us
from snyper.shared.socket_protocol import SocketMessage

_TIMEOUT_MS = 5_000
# In a board's image `MessageType` has none of the words that its own modules use: they are compiled in.
_REGISTER = "register"
_HIT = "hit"


class Reports:
    """Stands between an outbox and its link: puts the next hit into the outbox when one is acknowledged."""

    def __init__(self, target: Target, link: Link) -> None:
        self._target = target
        self._link = link
        self._left = 0
        self._done = asyncio.Event()

    async def request(self, message: SocketMessage, timeout_ms: int) -> SocketMessage:
        reply = await self._link.request(message, timeout_ms)
        self._next()
        return reply

    async def report_hits(self, link: Link, message: SocketMessage) -> SocketMessage:
        assert message.data is not None
        self._left = int(message.data["count"])  # type: ignore[call-overload]
        self._done.clear()
        self._next()
        await self._done.wait()
        return message.reply("hits_reported")

    def _next(self) -> None:
        if self._left:
            self._left -= 1
            data: dict[str, object] = {"reaction_ms": 412, "peak": 41_337, "gap_us": 2_310}
            self._target.outbox.add(_HIT, data, now_us())
        else:
            self._done.set()


async def mark(link: Link, message: SocketMessage) -> SocketMessage:
    return message.reply("marked", None, {"allocated": micropython.mem_total()})


async def main(port: int, key: str = "") -> None:
    config = read({"wifi": {"networks": [{"ssid": "snyper", "password": "simulated-range"}]}}, "rp2")
    target = Target(Servo(config["servo"]), Piezo(config["piezo"]))
    running = asyncio.create_task(target.run())
    await target.wait_at_rest()
    link = Link(await dial("127.0.0.1", port, _TIMEOUT_MS), target.handlers, "hub")  # type: ignore[arg-type]
    link.health = target.health
    reports = Reports(target, link)
    target.handlers["mark"] = mark
    target.handlers["report_hits"] = reports.report_hits
    closed = asyncio.Event()
    link.start(lambda link: closed.set())
    if key:
        await prove_key(link, key, {}, "target_1", _TIMEOUT_MS)
    await link.request(SocketMessage(_REGISTER, 0, "target_1"), _TIMEOUT_MS)
    target.connect(link)
    target.outbox.connect(reports)  # type: ignore[arg-type]
    await closed.wait()
    running.cancel()


asyncio.run(main(int(sys.argv[1]), *sys.argv[2:]))
