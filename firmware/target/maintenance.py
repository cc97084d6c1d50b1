"""Maintenance of a target: pages of its log, changes of settings, readings of its piezo. Loaded only then."""

from array import array

from snyper.firmware.target.controller import state_label
from snyper.firmware.target.log_page import read_page
from snyper.shared.clock import now_ms, ticks_diff, ticks_us
from snyper.shared.runtime import sleep_ms, unload
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
    from typing import Any

    from snyper.firmware.target.peripherals import Piezo
    from snyper.firmware.target.target import Target

MIN_LISTEN_MS = 100
MAX_LISTEN_MS = 60_000
LISTEN_MS = 1_000
# Both fit, with the rest of the reply, the shortest line that a peer may announce.
MAX_BINS = 100
PAGE_SAMPLES = 48
RING_MS = 50  # how long a plate that was struck rings, generously
_NEVER = 65_536  # more than a sample has


async def answer(
    message: SocketMessage, config: "dict[str, Any]", target: "Target", piezo: "Piezo", on_flash: bool
) -> SocketMessage:
    """Answer READ_LOG, CONFIGURE, LISTEN or READ_TRACE. A change of settings takes effect in `config` and in
    `piezo`, with `on_flash` first in config.json.

    Raises ProtocolError, and then nothing has changed: `busy` while the target does something else,
    `bad_message`, `fault` when the flash does not take it. May be cancelled.
    """
    data = message.data or {}
    if message.type == MessageType.READ_LOG:
        text, next_offset = read_page(integer_field(data, "offset", 0, 0, MAX_INTEGER))
        return message.reply(MessageType.LOG, "ok", {"text": text, "next": next_offset})
    if piezo.is_listening or not target.is_idle:
        what = "listening" if piezo.is_listening else state_label(target.state)
        raise ProtocolError(ErrorCode.BUSY, "the target is " + what)
    if message.type == MessageType.READ_TRACE:
        return message.reply(MessageType.TRACE, "ok", _trace_page(piezo, data))
    if message.type == MessageType.LISTEN:
        return message.reply(MessageType.LISTENED, "listened", await _listen(target, piezo, data))
    try:
        from snyper.firmware.target.configure import configure

        configure(config, data, on_flash)
    finally:
        unload("snyper.firmware.target.configure", "snyper.firmware.board.settings")
        unload("snyper.firmware.target.config", "snyper.shared.config")
    piezo.threshold = config["piezo"]["threshold"]
    target.measure_health()  # `rests_at` is measured by it
    settings = {"threshold": piezo.threshold, "groups": config["groups"]}
    return message.reply(MessageType.CONFIGURED, "configured", settings)


async def _listen(target: "Target", piezo: "Piezo", data: "dict[str, Any]") -> "dict[str, object]":
    """Sample the piezo, and return the greatest sample in each of at most MAX_BINS bins of time, and how
    closely they were taken.

    With `above` it ends RING_MS after the first sample that reaches it. Raises ProtocolError: `bad_message`,
    or `superseded` when the target begins to do something else. May be cancelled.
    """
    duration_ms = integer_field(data, "duration_ms", LISTEN_MS, MIN_LISTEN_MS, MAX_LISTEN_MS)
    above = integer_field(data, "above", _NEVER, 1, _NEVER)
    state = target.state
    bin_ms = (duration_ms + MAX_BINS - 1) // MAX_BINS
    bins = array("H", bytes(2 * MAX_BINS))
    samples = gap_us = elapsed_ms = 0
    piezo.trace.end()
    piezo.is_listening = True
    try:
        began_ms, last_us = now_ms(), ticks_us()
        while elapsed_ms < duration_ms:
            at_us = ticks_us()
            gap_us = max(gap_us, ticks_diff(at_us, last_us))
            last_us = at_us
            value = piezo.sample()
            samples += piezo.burst
            bins[elapsed_ms // bin_ms] = max(value, bins[elapsed_ms // bin_ms])
            if value >= above:
                above = _NEVER
                duration_ms = min(duration_ms, elapsed_ms + RING_MS)
            await sleep_ms(piezo.sample_ms)
            if target.state != state or not target.is_idle:
                raise ProtocolError(ErrorCode.SUPERSEDED, "the target has more to do: it is " + target.state)
            elapsed_ms = now_ms() - began_ms
    finally:
        piezo.is_listening = False
    return {
        "duration_ms": duration_ms,
        "bin_ms": bin_ms,
        "bins": list(bins[: (duration_ms + bin_ms - 1) // bin_ms]),
        "samples": samples,
        "gap_us": gap_us,
        "threshold": piezo.threshold,
    }


def _trace_page(piezo: "Piezo", data: "dict[str, Any]") -> "dict[str, object]":
    """Return at most PAGE_SAMPLES of the samples around the last hit, from `offset` on. Raises ProtocolError
    `bad_message`.
    """
    offset = integer_field(data, "offset", 0, 0, MAX_INTEGER)
    trace = piezo.trace
    end = min(offset + PAGE_SAMPLES, len(trace))
    page = [trace.sample(number) for number in range(offset, end)]
    return {
        "samples": len(trace),
        "threshold": trace.threshold,
        "reaction_ms": piezo.reaction_ms,
        "peak": piezo.peak,
        "times_us": [time_us for time_us, _ in page],
        "values": [value for _, value in page],
        "next": end if end < len(trace) else None,
    }
