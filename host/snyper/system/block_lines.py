"""The blocks of a stream on a link, read in a fraction of the time that any other message takes."""

import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from snyper.shared.attachment_bytes import follow
from snyper.shared.clock import now_us
from snyper.shared.link import ITEMS_PER_TURN, Link
from snyper.shared.runtime import Stream
from snyper.shared.socket_protocol import MAX_ID_CHARS, MAX_TARGET_ID_CHARS, MessageType, SocketMessage
from snyper.shared.stream_spec import MAX_BLOCK_BYTES

_NUMBER = rb"(0|[1-9][0-9]{0,14})"
_BLOCK = re.compile(
    rb'{"type":"item","id":(?:%s|"([A-Za-z0-9_-]{1,%d})")(?:,"target_id":"([A-Za-z0-9_.-]{1,%d})")?,'
    rb'"data":{"seq":%s,"at_us":%s,"uncertainty_us":%s,"source_us":%s},"bytes":%s}\n?'
    % (_NUMBER, MAX_ID_CHARS, MAX_TARGET_ID_CHARS, *(_NUMBER,) * 5)
)
_END = 0x0A
_BLOCKS_PER_READ = 4  # with more none takes less time, and others wait longer for their turn
_SMALL_BYTES = 32_768  # that are sooner copied than read by themselves
_numbers = itemgetter("seq", "at_us", "uncertainty_us", "source_us")


def expect_blocks(link: Link, new_buffer: Callable[[int], bytearray]) -> None:
    """Have a link take blocks of up to MAX_BLOCK_BYTES, into what `new_buffer` makes."""
    parser = link._parser
    link.max_chunk_bytes = parser.max_chunk_bytes = MAX_BLOCK_BYTES
    parser.new_buffer = new_buffer
    parser.from_line = from_line
    parser.follow = follow
    if isinstance(link._stream, Stream):  # of what is sealed no byte goes where it belongs
        link._stream.take = _Taker(link).take


class _Taker:
    """Takes for a link what ends a block, and the blocks that came behind it in one go: each into memory of
    its own, so that who keeps one keeps no more than that.
    """

    def __init__(self, link: Link) -> None:
        self._link = link

    def take(self, filled: memoryview | None, behind: memoryview) -> None:
        """Take the next bytes of what follows a line, which are where they belong, and what is behind."""
        link = self._link
        parser = link._parser
        if filled is not None:
            message = parser.message
            if (
                message is not None
                and message.type == MessageType.ITEM
                and len(filled) == parser.missing
                and link.close_error is None
            ):
                link.received_us = now_us()
                parser.missing = 0
                parser.message = parser.buffer = link._stream.buffer = None
                link._take(message)
            else:
                link.data_received(filled)
        at = self._take_blocks(behind) if parser.is_between_lines() and link.close_error is None else 0
        if at < len(behind):
            link.data_received(bytes(behind[at:]))

    def _take_blocks(self, data: memoryview) -> int:
        """Take the first blocks of `data` up to anything else; return how many bytes that is."""
        link = self._link
        parser, stream = link._parser, link._stream
        link.received_us = now_us()
        at, length = 0, len(data)
        for _ in range(ITEMS_PER_TURN):
            found = _BLOCK.match(data, at)
            if found is None:
                break
            begin = found.end()
            message = _message(found)
            size = message.attachment
            end = begin + size
            if data[begin - 1] != _END or size > parser.max_chunk_bytes:
                break
            if end > length:
                here = length - begin
                message.attachment = content = parser.new_buffer(size)
                buffer = memoryview(content)
                buffer[:here] = data[begin:]
                parser.message, parser.missing = message, size - here
                parser.buffer = stream.buffer = buffer[here:]
                stream.read_ahead((end - at) * _BLOCKS_PER_READ if size <= _SMALL_BYTES else 0)
                return length
            message.attachment = bytearray(data[begin:end])
            link._take(message)
            at = end
            if link.close_error is not None:
                break
        return at


def from_line(line: bytes) -> SocketMessage:
    """Read a line as SocketMessage.from_line does, and raise what it does."""
    found = _BLOCK.fullmatch(line)
    return SocketMessage.from_line(line) if found is None else _message(found)


def _message(found: "re.Match[bytes]") -> SocketMessage:
    number, word, source, seq, at_us, uncertainty_us, source_us, size = found.groups()
    return SocketMessage(
        "item",
        int(number) if word is None else word.decode(),
        None if source is None else source.decode(),
        None,
        {
            "seq": int(seq),
            "at_us": int(at_us),
            "uncertainty_us": int(uncertainty_us),
            "source_us": int(source_us),
        },
        int(size),
    )


def numbers_of(data: dict[str, Any]) -> tuple[int, int, int, int]:
    """Return `seq`, `at_us`, `uncertainty_us` and `source_us` of a block. Raises ValueError where one is no
    integer, or the first or third below 0.
    """
    try:
        numbers = seq, at_us, uncertainty_us, source_us = _numbers(data)
    except KeyError as error:
        raise ValueError(f"no `{error.args[0]}`") from None
    if not type(seq) is type(at_us) is type(uncertainty_us) is type(source_us) is int:
        raise ValueError(f"no integers: {numbers}")
    if seq < 0 or uncertainty_us < 0:
        raise ValueError(f"`seq` or `uncertainty_us` is negative: {numbers}")
    return numbers  # type: ignore[no-any-return]


def count(data: dict[str, Any], name: str, default: int | None = None) -> int:
    """Return a number of samples of `data`, from 0 on. Raises ValueError where it is none."""
    value = data.get(name, default)
    if type(value) is not int or value < 0:
        raise ValueError(f"`{name}` is no number of samples")
    return value
