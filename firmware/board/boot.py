"""Boots the firmware, and restarts it after any failure. MicroPython only.

Every failure is kept in the flash log, shown by the light and followed by a restart that comes later each
time. After MAX_FAILURES in a row the board only blinks and leaves USB free, until its power is switched off
and on or a deploy.
"""

import asyncio
import json
import os
import time

import micropython

from snyper.firmware.board.flash_log import FlashLog
from snyper.firmware.board.hardware import Watchdog, light, reset, reset_cause
from snyper.firmware.board.led import PATTERNS, Led, Pattern
from snyper.firmware.board.status import Status
from snyper.firmware.board.update import BOOT_STATE
from snyper.firmware.board.version import VERSION
from snyper.shared.clock import now_ms
from snyper.shared.log import keep, log, log_exception, repeat_status, set_sink, set_status
from snyper.shared.runtime import collect_garbage, end_task, sleep_ms, unload

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MAINTENANCE = "/maintenance"

MAX_FAILURES = 5
FIRST_RESTART_MS = 1_000  # doubled each time: 1, 2, 4 and 8 s before the fifth failure
FEED_MS = 500
STATUS_MS = 5_000  # between two status lines, at first: USB takes seconds to be back after a reset
PROVEN_MS = 60_000  # a firmware that has run so long has not failed to boot


def run(
    role: str,
    load_read: "Callable[[], Callable[[object, str], dict[str, Any]]]",
    load_application: "Callable[[], Any]",
) -> None:
    """Run the firmware of this board. Returns only to leave the board to a person at its USB.

    `load_read` imports and returns `read(given, platform)`, which checks and completes a configuration, from
    `snyper.firmware.ROLE.config`; `load_application` the application's class. Made with the configuration,
    the Led and `set_status`, to be called whenever its status changes, that has `async run()` and
    `is_alive()`: whether all of it still gets on with its work.
    """
    flash_log = FlashLog()
    set_sink(flash_log.append)
    state = _State()
    cause = state.begin(reset_cause())
    keep("boot", "%s %s, reset by %s" % (role, VERSION, cause))
    set_status(Status.STARTING, role=role, version=VERSION, cause=cause)
    if _take(MAINTENANCE) and cause != "power on":  # a mark from before a power cut is nobody's any more
        state.write(0, "maintenance")
        log("boot", "maintenance, the firmware does not start")
        set_status(Status.STOPPED, cause="maintenance")
        return
    try:
        if state.failures >= MAX_FAILURES:
            keep("boot", "safe mode after %d failed boots" % state.failures)
            set_status(Status.SAFE_MODE, failures=state.failures)
            _blink(PATTERNS[Pattern.SAFE_MODE], None, None)
        _serve(role, load_read, load_application, state)
    except KeyboardInterrupt:
        micropython.kbd_intr(-1)  # a person who sends one Ctrl-C often sends two
        state.write(0, "USB")
        log("boot", "stopped from USB; a running watchdog resets the board within 8 s")
        log("boot", "to keep it from starting once: open('%s', 'w').close(); machine.reset()" % MAINTENANCE)
        set_status(Status.STOPPED, cause="USB")
        micropython.kbd_intr(3)


def _serve(
    role: str,
    load_read: "Callable[[], Callable[[object, str], dict[str, Any]]]",
    load_application: "Callable[[], Any]",
    state: "_State",
) -> None:
    """Run the application; its end, which is always a failure, ends with a reset."""
    dog = None
    unload("snyper.firmware.board.update")
    try:
        settings = [_settings(load_read)]  # in a list: who takes them out has them alone
        _light(settings[0][0]["led"]["pin"])(True)  # until all is loaded
        unload("snyper.firmware.board.settings", "snyper.firmware.%s.config" % role, "snyper.shared.config")
        collect_garbage()
        application = load_application()
        dog = Watchdog(settings[0][0]["watchdog_ms"])
        collect_garbage()  # what was needed to import
        asyncio.run(_supervise(application, settings, dog, state))
    except Exception as error:
        set_sink(FlashLog().append)  # what ends this boot is kept, whatever was before it
        log_exception("boot", error)
        state.write(state.failures + 1, "crash")
        set_status(Status.CRASHED, last_error=repr(error))
        if state.failures < MAX_FAILURES:
            _blink(PATTERNS[Pattern.SAFE_MODE], FIRST_RESTART_MS << (state.failures - 1), dog)
        reset()


def _settings(
    load_read: "Callable[[], Callable[[object, str], dict[str, Any]]]",
) -> "tuple[dict[str, Any], bool]":
    """Read the settings in force. In a function of its own: a name that outlives it would keep the modules,
    which are to be unloaded.
    """
    from snyper.firmware.board.settings import in_force

    return in_force(load_read())


async def _supervise(
    application: "Any", settings: "list[tuple[dict[str, Any], bool]]", dog: Watchdog, state: "_State"
) -> None:
    """Feed the watchdog while the application is alive. Raises what ends it, or ends a task of it.

    `settings` are the configuration, and whether it is a former one. They are taken out, so that what the
    application does not keep of them gives its memory back.
    """
    config, is_fallback = settings.pop()
    defects: "list[BaseException]" = []

    def on_defect(loop: object, context: "dict[str, Any]") -> None:
        defects.append(context.get("exception") or RuntimeError(context.get("message")))

    asyncio.get_event_loop().set_exception_handler(on_defect)
    led = Led(_light(config["led"]["pin"]))
    led.show(Pattern.SAFE_MODE if is_fallback else Pattern.JOINING, fixed=is_fallback)
    app = application(config, led, set_status)
    del config
    running = asyncio.create_task(app.run())
    began_ms = now_ms()
    repeated = 0
    try:
        while not defects and not running.done():
            if app.is_alive():
                dog.feed()
            await sleep_ms(FEED_MS)
            elapsed_ms = now_ms() - began_ms
            if elapsed_ms >= PROVEN_MS:
                state.mark_good()
            elif elapsed_ms // STATUS_MS > repeated:
                repeated = elapsed_ms // STATUS_MS
                repeat_status()
    finally:
        led.stop()
        await end_task(running)
    raise defects[0] if defects else RuntimeError("the firmware has ended")


def _light(pin: "int | str") -> "Callable[[bool], None]":
    """Return the light on `pin`, or one that nobody sees: a wrong pin must not keep the board from its
    work.
    """
    try:
        return light(pin)
    except ValueError:
        log("boot", "there is no pin %s for the light: see `led.pin` in config.json" % pin)
        return _no_light


def _blink(steps: "tuple[int, ...]", duration_ms: "int | None", dog: "Watchdog | None") -> None:
    """Play a pattern on the board's own light without an event loop; for ever where there is no duration."""
    switch = _light("LED")
    began_ms = now_ms()
    while True:
        for at, step_ms in enumerate(steps):
            switch(at % 2 == 0)
            if dog is not None:
                dog.feed()
            time.sleep(step_ms / 1000)
            if duration_ms is not None and now_ms() - began_ms >= duration_ms:
                return


def _no_light(on: bool) -> None:
    """Switch nothing: a board without a light called LED."""


class _State:
    """The state that outlives a boot: how many have failed in a row, and why the next one happens."""

    def __init__(self) -> None:
        self.failures = 0
        self._why = ""
        try:
            with open(BOOT_STATE) as file:
                stored = json.load(file)
            self.failures = stored["failures"]
            self._why = stored["why"]
        except (OSError, ValueError, KeyError, TypeError):
            return

    def begin(self, hardware_cause: str) -> str:
        """Count this boot, and return why it happens."""
        cause = hardware_cause
        failures = self.failures
        if cause == "power on":
            failures = 0
        elif self._why:
            cause = self._why
        elif cause == "watchdog":
            failures += 1
        if failures != self.failures or self._why:
            self.write(failures, "")
        return cause

    def mark_good(self) -> None:
        """Record that this boot is good: the count of failed ones begins anew."""
        if self.failures:
            self.write(0, "")

    def write(self, failures: int, why: str) -> None:
        """Write both to the flash. One that cannot be written costs the memory, not the boot."""
        self.failures = failures
        try:
            _write(BOOT_STATE, json.dumps({"failures": failures, "why": why}))
        except OSError as error:
            _take(BOOT_STATE + ".new")
            log("boot", "%s cannot be written: %r" % (BOOT_STATE, error))


def _write(path: str, content: str) -> None:
    """Replace a file at once: a power cut leaves the old one or the new one."""
    with open(path + ".new", "w") as file:
        file.write(content)
    os.rename(path + ".new", path)


def _take(path: str) -> bool:
    """Remove a file, and return whether it was there."""
    try:
        os.remove(path)
    except OSError:
        return False
    return True
