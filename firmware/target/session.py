"""A target's session with its hub: what it says of itself, and what begins and ends with the link."""

import asyncio
import os

from snyper.firmware.board.hardware import hardware_id
from snyper.firmware.board.led import HIT_MS, Pattern
from snyper.firmware.board.status import Status
from snyper.firmware.board.version import VERSION
from snyper.firmware.target.controller import State
from snyper.firmware.target.peripherals import Piezo, Servo
from snyper.firmware.target.target import Target
from snyper.firmware.target.wifi import JOIN_TIMEOUT_MS, JoinError, Wifi
from snyper.shared.clock import now_ms
from snyper.shared.clock_sync import ClockSync
from snyper.shared.log import log
from snyper.shared.runtime import end_task, unload
from snyper.shared.session import Session, SessionState
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
    from collections.abc import Callable, Coroutine
    from typing import Any

    from snyper.firmware.board.led import Led
    from snyper.shared.attachment_receiver import Receiver
    from snyper.shared.handshake_client import Registered
    from snyper.shared.link import Link

_SILENCES = (ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED)
HUB_SILENCE_MS = 15_000  # after this long without a hub, `isconnected()` is not believed any more
STUCK_MS = JOIN_TIMEOUT_MS + 5_000  # longer than any one step towards the hub takes, or a pause between two


class TargetSession(Session):
    """One target: its hardware, its state and its link to the hub. `config` is what `config.read` gives,
    `led` shows how things stand, and `on_status(status, **fields)` is called when the status changes, as
    `set_status` takes it. What a console changes of `config` is kept in config.json, if that is `on_flash`.
    Raises ValueError for a pin that cannot do what it is to do.
    """

    _files: "Receiver | None" = None  # while a file comes in

    def __init__(
        self, config: "dict[str, Any]", led: "Led", on_status: "Callable[..., None]", on_flash: bool = True
    ) -> None:
        self._config = config
        self._on_status = on_status
        self._led = led
        from snyper.firmware.target.dns import host_name  # for a moment

        unload("snyper.firmware.target.dns")
        self._wifi = Wifi(config["wifi"], host_name(config["target_id"]))
        self._on_flash = on_flash
        self._piezo = Piezo(config["piezo"])
        self._target = Target(
            Servo(config["servo"]), self._piezo, on_change=self._show_pose, on_hit=self._show_hit
        )
        handlers = self._target.handlers
        maintain = self._maintain  # one object: on a board each `self._maintain` takes memory
        for message_type in (
            MessageType.READ_LOG,
            MessageType.CONFIGURE,
            MessageType.LISTEN,
            MessageType.READ_TRACE,
        ):
            handlers[message_type] = maintain
        handlers[MessageType.IDENTIFY] = self._identify
        handlers["read_stream"] = handlers["mark_stream"] = self._serve_stream
        handlers[MessageType.OFFER] = handlers[MessageType.CHUNK] = self._receive_file
        super().__init__(config["hub"], handlers, config["target_id"], config["key"])
        if config["certificate"]:  # an attribute takes memory also where it is empty
            self.certificate = config["certificate"]
        self.health = self._target.health
        self._boot_id = os.urandom(4).hex()
        self._hardware_id = hardware_id()
        self._hub_boot_id = ""
        self._hub_seen_ms = now_ms()

    async def run(self) -> None:
        """Serve for ever. May be cancelled; then socket and tasks are gone."""
        target = asyncio.create_task(self._target.run())
        try:
            await super().run()
        finally:
            await end_task(target)

    def is_alive(self) -> bool:
        """Return whether the link to the hub or the way to it makes progress, and the motion too: else the
        watchdog resets.
        """
        now = now_ms()
        if self._target.is_stuck(now):
            return False
        return now - self.changed_ms < STUCK_MS if self.link is None else self.link.is_alive()

    async def join(self) -> None:
        """Join the Wi-Fi. Raises JoinError."""
        if now_ms() - self._hub_seen_ms > HUB_SILENCE_MS:
            log("session", "no hub for %d s: the radio starts anew" % (HUB_SILENCE_MS // 1000))
            self._wifi.leave()
            self._hub_seen_ms = now_ms()
        if self._wifi.is_joined():
            return
        self._on_status(Status.JOINING)
        try:
            await self._wifi.join()
        except JoinError as error:
            self._hub_seen_ms = now_ms()  # the radio starts anew in any case
            if error.is_refused:
                self._led.show(Pattern.WRONG_PASSWORD)
            raise
        self._hub_seen_ms = now_ms()  # from now on it can be heard
        self._on_status(Status.SEEKING, hub=self.hub)

    async def find(self, host: str) -> str:
        """Return the address of `host` once the target is at rest. Raises OSError."""
        await self._target.wait_at_rest()
        from snyper.firmware.target.dns import resolve  # for a moment, and not while the hub is there

        try:
            return await resolve(host, self._wifi.name_server())
        finally:
            unload("snyper.firmware.target.dns")

    def registration(self) -> "dict[str, object]":
        """Return what the target says of itself when it registers."""
        return {
            "firmware": VERSION,
            "hardware_id": self._hardware_id,
            "boot_id": self._boot_id,
            "groups": self._config["groups"],
            "state": self._target.state,
            "streams": {"piezo": self._piezo.spec()},
            "max_line_bytes": MAX_LINE_BYTES,
        }

    def on_registered(self, link: "Link", registered: "Registered", asked_us: int) -> None:
        """Take the first round of the hub's clock, clearing that of another hub; begin with the link."""
        clock = self._target.clock
        if not registered.boot_id or registered.boot_id != self._hub_boot_id:
            self._hub_boot_id = registered.boot_id
            self._target.forget_hub(max(0, registered.hub_us))
        if registered.hub_us >= 0:
            clock.add(asked_us, registered.hub_us, link.received_us)
        self._target.connect(link)

    def serve(self, link: "Link") -> "Coroutine[Any, Any, None]":
        """Keep measuring the hub's clock for as long as `link` lives."""
        return ClockSync(self._target.clock, self._target.measure_health).run(link)

    def on_lost(self) -> None:
        """Go to the safe pose."""
        error = self.last_error
        if isinstance(error, ProtocolError):
            was_registered = self.state == SessionState.CONNECTED
            is_silent = error.code in _SILENCES  # else it is there, and says no
            if was_registered or not is_silent:
                self._hub_seen_ms = now_ms()
            status = Status.SEEKING if was_registered or is_silent else Status.REFUSED
            self._on_status(status, hub=self.hub, code=error.code, last_error=str(error))
        self._led.show(Pattern.SEEKING)
        self._unload_receiver()
        self._target.disconnect(self._config["safe_pose"])

    def on_state(self, state: str) -> None:
        """Show how far it is to the hub."""
        if state == SessionState.JOINING:
            self._led.show(Pattern.JOINING)
        elif state == SessionState.CONNECTING:
            self._led.show(Pattern.SEEKING)
        elif state == SessionState.CONNECTED:
            self._show_pose(self._target.state)
            self._on_status(Status.REGISTERED, target_id=self.target_id, hub=self.hub)
        elif state == SessionState.WAITING and isinstance(self.last_error, OSError):  # there was no link
            if isinstance(self.last_error, JoinError):
                self._on_status(Status.JOINING, last_error=str(self.last_error.args[-1]))
            else:
                self._on_status(Status.SEEKING, hub=self.hub, last_error=str(self.last_error))

    async def _receive_file(self, link: "Link", message: SocketMessage) -> SocketMessage:
        """Take a part of a file, while nothing is timed: writing to the flash stops all else. Its code is
        loaded for it.
        """
        if not self._on_flash:
            raise ProtocolError(ErrorCode.UNSUPPORTED, "this target has no flash")
        if not self._target.is_idle:
            raise ProtocolError(ErrorCode.BUSY, "the target is " + self._target.state)
        if self._files is None:
            from snyper.shared.attachment_receiver import BOARD_FILE_BYTES, BOARD_RESERVE_BYTES, Receiver

            self._files = Receiver("files", BOARD_FILE_BYTES, BOARD_RESERVE_BYTES)
        files = self._files
        reply = await files.serve(link, message)
        if files is self._files and not files.is_receiving:
            self._unload_receiver()
        return reply

    def _unload_receiver(self) -> None:
        """Give the memory back that receiving a file takes; what has come so far stays."""
        if self._files is not None:
            self._files.close()
            self._files = None
            unload("snyper.shared.attachment_receiver")

    async def _identify(self, link: "Link", message: SocketMessage) -> SocketMessage:
        """Make the light flicker, so that a person finds this board among many."""
        duration_ms = integer_field(
            message.data or {}, "duration_ms", IDENTIFY_MS, MIN_IDENTIFY_MS, MAX_IDENTIFY_MS
        )
        self._led.flash(Pattern.IDENTIFY, duration_ms)
        return message.reply(MessageType.IDENTIFIED, "identifying", {"duration_ms": duration_ms})

    async def _maintain(self, link: "Link", message: SocketMessage) -> SocketMessage:
        """Answer a maintenance request. Its code is loaded for it: seldom, and for a tenth of the memory."""
        from snyper.firmware.target.maintenance import answer

        try:
            return await answer(message, self._config, self._target, self._piezo, self._on_flash)
        finally:
            unload("snyper.firmware.target.maintenance", "snyper.firmware.target.log_page")

    async def _serve_stream(self, link: "Link", message: SocketMessage) -> SocketMessage:
        """Answer what is asked of the piezo as a stream. Its code is loaded for it."""
        from snyper.firmware.target.piezo_stream import serve

        return await serve(link, message, self._target, self._piezo, self._boot_id)

    def _show_pose(self, state: str) -> None:
        if self.link is not None:
            is_up = state in (State.STANDING, State.ARMED)
            self._led.show(Pattern.STANDING if is_up else Pattern.REGISTERED)

    def _show_hit(self) -> None:
        self._led.flash(Pattern.HIT, HIT_MS)
