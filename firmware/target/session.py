"""A target's life on the network: join, dial, register, serve; and after any loss, all over again."""

import asyncio
import os

from firmware.target.peripherals import Led, Piezo, Servo, hardware_id
from firmware.target.target import Target
from firmware.target.wifi import Wifi
from shared.address import parse_address
from shared.backoff import Backoff
from shared.clock import now_ms
from shared.handshake import Welcome
from shared.link import Link
from shared.log import log
from shared.runtime import dial, end_task, sleep_ms
from shared.socket_protocol import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    MessageType,
    ProtocolError,
    SocketMessage,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRMWARE = "0.1.0"
DIAL_TIMEOUT_MS = 5_000
REGISTER_TIMEOUT_MS = 3_000
FIRST_RETRY_MS = 100
MAX_RETRY_MS = 3_000
HUB_SILENCE_MS = 15_000  # after this long without a hub, `isconnected()` is not believed any more


class Session:
    """One target: its hardware, its state and its link to the hub. `config` is as `config.DEFAULTS`."""

    def __init__(self, config: "dict[str, Any]") -> None:
        self._config = config
        self._hubs = [parse_address(hub) for hub in config["hub"]]
        self._led = Led(config["led"])
        self._wifi = Wifi(config["wifi"])
        self._target = Target(Servo(config["servo"]), Piezo(config["piezo"]))
        self._backoff = Backoff(FIRST_RETRY_MS, MAX_RETRY_MS)
        self._boot_id = os.urandom(4).hex()
        self._hardware_id = hardware_id()
        self._hub_seen_ms = now_ms()
        self._attempts = 0

    async def run(self) -> None:
        """Serves for ever. May be cancelled; then socket and tasks are gone."""
        target = asyncio.create_task(self._target.run())
        try:
            while True:
                await self._visit()
                if now_ms() - self._hub_seen_ms > HUB_SILENCE_MS:
                    self._wifi.leave()
                    self._hub_seen_ms = now_ms()
                await sleep_ms(self._backoff.next_ms())
        finally:
            await end_task(target)

    async def _visit(self) -> None:
        """One connection, from joining the network to the link's end, whatever ends it."""
        hubs = self._hubs
        host, port = hubs[self._attempts % len(hubs)]
        self._attempts += 1
        try:
            await self._wifi.join()
            await self._target.wait_at_rest()
            reader, writer = await dial(host, port, DIAL_TIMEOUT_MS)
        except OSError as error:
            log("session", "no hub at %s: %r" % (host, error))
            return
        link = Link(reader, writer, self._target.handlers, "hub")
        link.health = self._target.health
        running = asyncio.create_task(link.run())
        try:
            self._serve(link, Welcome(await link.request(self._registration(link), REGISTER_TIMEOUT_MS)))
            await running
            self._hub_seen_ms = now_ms()
        except ProtocolError as error:
            link.close(error)
            await running
        finally:
            await end_task(running)
            self._led.show(False)
            self._target.disconnect(self._config["safe_pose"])

    def _registration(self, link: Link) -> SocketMessage:
        data = {
            "protocol": PROTOCOL_VERSION,
            "firmware": FIRMWARE,
            "hardware_id": self._hardware_id,
            "boot_id": self._boot_id,
            "groups": self._config["groups"],
            "state": self._target.state,
            "max_line_bytes": MAX_LINE_BYTES,
        }
        return SocketMessage(MessageType.REGISTER, link.new_id(), self._config["target_id"], data=data)

    def _serve(self, link: Link, welcome: Welcome) -> None:
        welcome.apply_to(link)
        log("session", "registered as %s" % self._config["target_id"])
        self._backoff.reset()
        self._attempts = max(0, self._attempts - 1)  # this hub first, next time too
        self._led.show(True)
        self._target.connect(link)
