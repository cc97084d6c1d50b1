"""A target's piezo as a stream: what it gives, while a person sets a threshold. Loaded only then."""

from array import array

from snyper.shared.clock import now_ms, now_us
from snyper.shared.runtime import sleep_ms, unload
from snyper.shared.socket_protocol import (
    MAX_INTEGER,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    encode_json,
    integer_field,
    text_field,
)
from snyper.shared.stream_spec import MAX_MARKS_BYTES, MAX_TEXT_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.firmware.target.peripherals import Piezo
    from snyper.firmware.target.target import Target
    from snyper.shared.link import Link

PIEZO = "piezo"
MAX_DURATION_MS = 60_000
_BLOCK_MS = 100
_BLOCK_SAMPLES = 100  # as many as the shortest pause between two gives
_IDLE_MS = 20  # between two looks at a target that is armed or moves
_LATE_MS = 5  # that a sample may be taken after its time


async def serve(
    link: "Link", message: SocketMessage, target: "Target", piezo: "Piezo", epoch: str
) -> SocketMessage:
    """Answer `read_stream`, for whoever asked last, or `mark_stream` while somebody reads. Raises
    ProtocolError. May be cancelled.
    """
    try:
        if message.type == "mark_stream":
            if piezo.stream is None:
                raise ProtocolError(ErrorCode.UNKNOWN_TARGET, "nobody reads a stream of this target")
            return piezo.stream.mark(message)
        stream = PiezoStream(link, message, target, piezo, epoch)
        if piezo.stream is not None:
            piezo.stream.stop()
        piezo.stream = stream
        link.on_stream = stream.on_item
        try:
            return await stream.run()
        finally:
            if piezo.stream is stream:
                piezo.stream = link.on_stream = None
    finally:
        if piezo.stream is None:
            unload("snyper.firmware.target.piezo_stream")


class PiezoStream:
    """The answer to one `read_stream`: the greatest sample of each burst, for a while.

    Nothing is sampled while the target is armed or moves: that is the detector's time. A block waits until
    the network takes it, and nothing is sampled meanwhile. `seq` goes on from one request to the next:
    `epoch` is that of the board's run.

    Samples have their times from the first of their block on, `sample_ms` from each to the next, and are
    taken at most _LATE_MS later, or `sample_ms` where that is more: what holds the board up for longer ends
    the block.
    """

    def __init__(
        self, link: "Link", message: SocketMessage, target: "Target", piezo: "Piezo", epoch: str
    ) -> None:
        data = message.data or {}
        if data.get("stream") != PIEZO:
            raise ProtocolError(ErrorCode.UNKNOWN_TARGET, "a target has the stream " + PIEZO)
        self._duration_ms = integer_field(data, "duration_ms", MAX_DURATION_MS, 1, MAX_DURATION_MS)
        self._link = link
        self._message = message
        self._target = target
        self._piezo = piezo
        self._epoch = epoch
        self._late_us = 1000 * max(_LATE_MS, piezo.sample_ms)
        self._is_stopped = False
        self._marks: "list[list[object]]" = []  # for the next block

    def mark(self, message: SocketMessage) -> SocketMessage:
        """Answer `mark_stream`: name an instant. Raises ProtocolError `bad_message`."""
        data = message.data or {}
        name = text_field(data, "name", "")
        if data.get("stream") != PIEZO or not 0 < len(name.encode()) <= MAX_TEXT_BYTES:
            raise ProtocolError(ErrorCode.BAD_MESSAGE, "of piezo, a name of 1 to %d bytes" % MAX_TEXT_BYTES)
        at_us = integer_field(data, "at_us", now_us(), 0, MAX_INTEGER)
        self._marks.append([name, at_us])
        while len(encode_json(self._marks)) > MAX_MARKS_BYTES:
            self._marks.pop(0)
        return message.reply(MessageType.REPLY, "marked", {"at_us": at_us})

    async def run(self) -> SocketMessage:
        """Sample and send until the time is over or the reader wants no more; return the reply. Raises
        ProtocolError. May be cancelled.
        """
        link, message, piezo = self._link, self._message, self._piezo
        about = piezo.spec()
        about.update({"stream": PIEZO, "epoch": self._epoch, "seq": piezo.streamed})
        await link.send(SocketMessage(MessageType.ITEM, message.id, None, "streams", about))
        values = array("H", bytes(2 * _BLOCK_SAMPLES))
        until_ms = now_ms() + self._duration_ms
        while now_ms() < until_ms and not self._is_stopped:
            if self._target.is_idle:
                await self._send_block(values)
            else:
                await sleep_ms(_IDLE_MS)
        status = "stopped" if self._is_stopped else "ended"
        return message.reply(MessageType.REPLY, status, {"seq": piezo.streamed})

    async def _send_block(self, values: "array[int]") -> None:
        piezo, target, link = self._piezo, self._target, self._link
        count = 0
        step_us = 1000 * piezo.sample_ms
        piezo.trace.end()  # what is sampled now is not the last hit's
        began_us = due_us = now_us()
        while True:
            values[count] = piezo.sample()
            count += 1
            due_us += step_us
            await sleep_ms(max(0, (due_us - now_us() + 999) // 1000))
            if self._is_stopped:
                return  # another may read on from here
            if count == _BLOCK_SAMPLES or due_us - began_us >= _BLOCK_MS * 1000:
                break
            if not target.is_idle or now_us() - due_us > self._late_us:
                break
        seq = piezo.streamed
        piezo.streamed += count
        clock = target.clock
        data: "dict[str, object]" = {"seq": seq, "source_us": began_us, "at_us": began_us}
        data["uncertainty_us"] = 0
        if clock.is_set:
            data["at_us"] = clock.hub_us(began_us)
            data["uncertainty_us"] = clock.uncertainty_us(began_us)
        if self._marks:
            data["marks"], self._marks = self._marks, []
        content = bytes(values)[: 2 * count]
        await link.send(SocketMessage(MessageType.ITEM, self._message.id, None, None, data, content))

    def on_item(self, message: SocketMessage) -> None:
        """Take that the reader wants no more."""
        if message.id == self._message.id:
            self.stop()

    def stop(self) -> None:
        """End soon."""
        self._is_stopped = True
