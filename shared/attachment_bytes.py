"""The raw bytes that follow a line. Loaded when the first come. Pure."""

from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from snyper.shared.link_core import LinkCore
    from snyper.shared.socket_protocol import MessageLineParser

_BRACE = 0x7B


def expect(
    parser: "MessageLineParser", item: "SocketMessage | ProtocolError", length: "Any"
) -> "SocketMessage | ProtocolError | None":
    """Have `parser` take `length` bytes as those of `item`, or skip them where that is an error. Returns what
    the line means by itself: None for a message whose bytes are to come.
    """
    if type(length) is not int or length < 0:
        return _refused(ErrorCode.BAD_MESSAGE, "`bytes` is an integer, 0 or more", item)
    if length > parser.max_chunk_bytes:
        parser.overrun = True
        why = "at most %d bytes may follow a line here" % parser.max_chunk_bytes
        return _refused(ErrorCode.LINE_TOO_LONG, why, item)
    parser.missing = length
    parser.follow = follow
    if not isinstance(item, SocketMessage):
        return item
    try:
        item.attachment = parser.new_buffer(length)
        buffer = memoryview(item.attachment)
    except MemoryError:
        return _refused(ErrorCode.INTERNAL, "no memory for %d bytes" % length, item)
    if not length:
        return item
    parser.message = item
    parser.buffer = buffer
    return None


def fill(
    parser: "MessageLineParser", data: "bytes | bytearray | memoryview"
) -> "tuple[SocketMessage | None, bytes | bytearray | memoryview]":
    """Take bytes that belong to the last line. Returns its message if that is whole now, and what is left."""
    count = min(len(data), parser.missing)
    return _put(parser, data[:count]), data[count:]


def _put(parser: "MessageLineParser", data: "bytes | bytearray | memoryview") -> "SocketMessage | None":
    """Take bytes of which all belong to the last line. Returns its message if that is whole now."""
    message = parser.message
    parser.missing = missing = parser.missing - len(data)
    if message is not None:
        buffer: "memoryview" = parser.buffer  # type: ignore[assignment]
        if getattr(data, "obj", data) is not message.attachment:
            buffer[: len(data)] = data  # on a board also where they are already
        parser.buffer = buffer[len(data) :] if missing else None
    if missing:
        return None
    parser.message = None
    return message


def follow(core: "LinkCore", data: "Any", size: int) -> "Iterator[SocketMessage | None] | tuple[()]":
    """Take what begins with a line of `size` bytes, or with bytes that follow one, for LinkCore.receive_data:
    mostly all of it is one message, or a part of one.
    """
    parser = core._parser
    if core.close_error is not None:
        return ()
    if size:
        if data[size] == _BRACE:  # of another line, as nearly always
            return core._take_each(data)
        item = parser.parse_line(data[:size])
        data = data[size:]
        if item is not None or not parser.missing:
            return _both(core, item, data)
    if len(data) > parser.missing:
        return core._take_each(data)
    message = _put(parser, data)
    if message is None:
        return ()
    request = core._take(message)
    return () if request is None else iter((request,))


def _both(
    core: "LinkCore", item: "SocketMessage | ProtocolError | None", data: bytes
) -> "Iterator[SocketMessage | None]":
    yield core._take(item)
    yield from core._take_each(data)


def _refused(code: str, why: str, item: "SocketMessage | ProtocolError") -> ProtocolError:
    # What was wrong with the line first is what it is told.
    if isinstance(item, ProtocolError) and code != ErrorCode.LINE_TOO_LONG:
        return item
    return ProtocolError(code, why, item.id)
