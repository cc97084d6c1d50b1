"""A target's session with its hub: join the network, dial, register, serve; and all again after any loss."""

import asyncio
import os

from snyper.firmware.board.hardware import hardware_id
from snyper.firmware.board.led import HIT_MS, Pattern
from snyper.firmware.board.version import VERSION
from snyper.firmware.target.clock_sync import ClockSync
from snyper.firmware.target.controller import State
from snyper.firmware.target.peripherals import Piezo, Servo
from snyper.firmware.target.target import Target
from snyper.firmware.target.wifi import JOIN_TIMEOUT_MS, STATUS_WRONG_PASSWORD, JoinError, Wifi
from snyper.shared.address import parse_address
from snyper.shared.backoff import Backoff
from snyper.shared.clock import now_ms, now_us
from snyper.shared.handshake_client import Registered, register_message
from snyper.shared.link import Link
from snyper.shared.log import keep, log
from snyper.shared.runtime import dial, end_task, forget, sleep_ms
from snyper.shared.socket_protocol import (
    IDENTIFY_MS,
    MAX_IDENTIFY_MS,
    MAX_LINE_BYTES,
    MIN_IDENTIFY_MS,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.firmware.board.led import Led

DIAL_TIMEOUT_MS = 5_000
REGISTER_TIMEOUT_MS = 3_000
FIRST_RETRY_MS = 100
MAX_RETRY_MS = 3_000
MAX_REFUSED_MS = 15_000  # where somebody has to do something first; less than STUCK_MS
HUB_SILENCE_MS = 15_000  # after this long without a hub, `isconnected()` is not believed any more


_MAX_ERRORS = 8
_REFUSALS = (
    ErrorCode.DUPLICATE_TARGET,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.UNSUPPORTED,
    ErrorCode.BAD_MESSAGE,
)
STUCK_MS = JOIN_TIMEOUT_MS + 5_000  # longer than any one step towards the hub takes


class Session:
    """One target: its hardware, its state and its link to the hub. `config` is what `config.read` gives,
    `led` shows how things stand. What a console changes of `config` is kept in config.json, if that is
    `on_flash`. Raises ValueError for a pin that cannot do what it is to do.
    """

    def __init__(self, config: "dict[str, Any]", led: "Led", on_flash: bool = True) -> None:
        self._config = config
        self._hubs = config["hub"]
        self._led = led
        self._wifi = Wifi(config["wifi"], _host_name(config["target_id"]))
        self._on_flash = on_flash
        self._piezo = Piezo(config["piezo"])
        self._target = Target(
            Servo(config["servo"]), self._piezo, on_change=self._show_pose, on_hit=self._show_hit
        )
        self._handlers = dict(self._target.handlers)
        for message_type in (
            MessageType.READ_LOG,
            MessageType.CONFIGURE,
            MessageType.LISTEN,
            MessageType.READ_TRACE,
        ):
            self._handlers[message_type] = self._maintain
        self._handlers[MessageType.IDENTIFY] = self._identify
        self._backoff = Backoff(FIRST_RETRY_MS, MAX_RETRY_MS)
        self._boot_id = os.urandom(4).hex()
        self._hardware_id = hardware_id()
        self._link: "Link | None" = None
        self._hub_boot_id = ""
        self._hub_seen_ms = now_ms()
        self._moved_on_ms = now_ms()
        self._errors: "list[str]" = []  # since the hub was there
        self._attempts = 0
        self._is_refused = False  # by the last hub that was asked

    async def run(self) -> None:
        """Serve for ever. May be cancelled; then socket and tasks are gone."""
        target = asyncio.create_task(self._target.run())
        try:
            while True:
                await self._visit()
                if now_ms() - self._hub_seen_ms > HUB_SILENCE_MS:
                    log("session", "no hub for %d s: the radio starts anew" % (HUB_SILENCE_MS // 1000))
                    self._wifi.leave()
                    self._hub_seen_ms = now_ms()
                all_asked = self._attempts % len(self._hubs) == 0
                await sleep_ms(
                    self._backoff.next_ms(MAX_REFUSED_MS if self._is_refused and all_asked else None)
                )
        finally:
            await end_task(target)

    def is_alive(self) -> bool:
        """Return whether the link to the hub or the way to it makes progress, and the motion too: else the
        watchdog resets.
        """
        now = now_ms()
        if self._link is not None:
            return self._link.is_alive() and not self._target.is_stuck(now)
        return now - self._moved_on_ms < STUCK_MS and not self._target.is_stuck(now)

    def status(self) -> str:
        """Return the state in a few words: the last error, where there is no hub."""
        if self._link is None:
            return self._errors[-1] if self._errors else "no hub yet"
        return "registered as %s" % self._config["target_id"]

    async def _visit(self) -> None:
        """Make one connection, from joining the network to the link's end, whatever ends it."""
        hub = self._hubs[self._attempts % len(self._hubs)]
        host, port = parse_address(hub)
        self._attempts += 1
        self._is_refused = False
        try:
            self._move_on(Pattern.JOINING)
            if await self._wifi.join():
                self._hub_seen_ms = now_ms()  # from now on it can be heard
            self._move_on(Pattern.SEEKING)
            await self._target.wait_at_rest()
            address = await self._address_of(host)
            reader, writer = await dial(address, port, DIAL_TIMEOUT_MS)
        except JoinError as error:
            self._attempts -= 1  # no hub was asked
            self._hub_seen_ms = now_ms()  # the radio starts anew in any case
            if error.status == STATUS_WRONG_PASSWORD:
                self._led.show(Pattern.WRONG_PASSWORD)
            self._record_error(str(error.args[1]))
            return
        except OSError as error:
            self._record_error("no hub at %s: %r" % (hub, error))
            return
        self._moved_on_ms = now_ms()
        link = Link(reader, writer, self._handlers, "hub")
        link.health = self._target.health
        running = asyncio.create_task(link.run())
        sync: "asyncio.Task[None] | None" = None
        try:
            registration = self._registration(link)
            asked_us = now_us()
            registered = Registered(await link.request(registration, REGISTER_TIMEOUT_MS))
            self._set_clock(asked_us, registered, link.received_us)
            self._serve(link, registered)
            sync = asyncio.create_task(ClockSync(self._target.clock, self._target.health).run(link))
            why = await running
            self._hub_seen_ms = now_ms()
            self._record_error("the hub is lost: %s" % why)
        except ProtocolError as error:
            why = link.close_error or error
            self._is_refused = why.code in _REFUSALS
            if why.code not in (ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED):
                self._hub_seen_ms = now_ms()  # it is there, and says no
            what = (
                "no hub at %s: %s" if why.code == ErrorCode.DISCONNECTED else "%s takes no registration: %s"
            )
            self._record_error(what % (hub, why))
            link.close(error)
            await running
        finally:
            if sync is not None:
                await end_task(sync)
            await end_task(running)
            self._link = None
            self._move_on(Pattern.SEEKING)
            self._target.disconnect(self._config["safe_pose"])

    async def _address_of(self, host: str) -> str:
        """Resolve `host`. Its code is needed for a moment, and not while the hub is there. Raises OSError."""
        from snyper.firmware.target.dns import resolve

        try:
            return await resolve(host, self._wifi.name_server())
        finally:
            forget("snyper.firmware.target.dns")

    def _registration(self, link: Link) -> SocketMessage:
        data: "dict[str, object]" = {
            "firmware": VERSION,
            "hardware_id": self._hardware_id,
            "boot_id": self._boot_id,
            "groups": self._config["groups"],
            "state": self._target.state,
            "max_line_bytes": MAX_LINE_BYTES,
        }
        return register_message(link.new_id(), self._config["key"], data, self._config["target_id"])

    def _set_clock(self, asked_us: int, registered: Registered, received_us: int) -> None:
        """Add the handshake to the hub's clock as its first round; another hub's clock is forgotten."""
        if not registered.boot_id or registered.boot_id != self._hub_boot_id:
            self._hub_boot_id = registered.boot_id
            self._target.clock.reset()
        if registered.hub_us >= 0:
            self._target.clock.add(asked_us, registered.hub_us, received_us)

    def _serve(self, link: Link, registered: Registered) -> None:
        registered.apply_to(link)
        log("session", "registered as %s" % self._config["target_id"])
        self._errors = []
        self._backoff.reset()
        self._attempts = max(0, self._attempts - 1)  # this hub first, next time too
        self._link = link
        self._target.connect(link)
        self._show_pose(self._target.state)

    async def _identify(self, link: Link, message: SocketMessage) -> SocketMessage:
        """Make the light flicker, so that a person finds this board among many."""
        duration_ms = integer_field(
            message.data or {}, "duration_ms", IDENTIFY_MS, MIN_IDENTIFY_MS, MAX_IDENTIFY_MS
        )
        self._led.flash(Pattern.IDENTIFY, duration_ms)
        return message.reply(MessageType.IDENTIFIED, "identifying", {"duration_ms": duration_ms})

    async def _maintain(self, link: Link, message: SocketMessage) -> SocketMessage:
        """Answer a maintenance request. Its code is loaded for it: seldom, and for a tenth of the memory."""
        from snyper.firmware.target.maintenance import answer

        try:
            return await answer(message, self._config, self._target, self._piezo, self._on_flash)
        finally:
            forget("snyper.firmware.target.maintenance", "snyper.firmware.target.log_page")

    def _move_on(self, pattern: str) -> None:
        self._moved_on_ms = now_ms()
        self._led.show(pattern)

    def _record_error(self, text: str) -> None:
        """Log an error; keep it once an outage, in which it may come back every few seconds and for hours."""
        if text in self._errors:
            self._errors.remove(text)
            log("session", text)
        else:
            keep("session", text)
        self._errors = self._errors[1 - _MAX_ERRORS :] + [text]

    def _show_pose(self, state: str) -> None:
        if self._link is not None:
            is_up = state in (State.STANDING, State.ARMED)
            self._led.show(Pattern.STANDING if is_up else Pattern.REGISTERED)

    def _show_hit(self) -> None:
        self._led.flash(Pattern.HIT, HIT_MS)


def _host_name(target_id: str) -> str:
    """Make a host name: letters, digits and hyphens, at most the 32 that `network.hostname` takes."""
    name = "snyper-" + target_id.replace("_", "-").replace(".", "-")
    return name[:32].rstrip("-")
