"""The raw bytes that follow a line. Loaded when the first come. Pure."""

from snyper.shared.socket_protocol import ErrorCode, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snyper.shared.socket_protocol import MessageLineParser


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
    if parser.buffer is not None:
        if getattr(data, "obj", data) is not parser.message.attachment:  # type: ignore[union-attr]
            parser.buffer[:count] = data[:count]  # on a board also where they are already
        parser.buffer = parser.buffer[count:]
    parser.missing -= count
    if parser.missing:
        return None, data
    message = parser.message
    parser.message = parser.buffer = None
    return message, data[count:]


def _refused(code: str, why: str, item: "SocketMessage | ProtocolError") -> ProtocolError:
    # What was wrong with the line first is what it is told.
    if isinstance(item, ProtocolError) and code != ErrorCode.LINE_TOO_LONG:
        return item
    return ProtocolError(code, why, item.id)
