"""The lines of a stream's blocks, read in a fraction of the time that any other takes."""

import re

from snyper.shared.socket_protocol import MAX_ID_CHARS, MAX_TARGET_ID_CHARS, SocketMessage

_NUMBER = rb"(0|[1-9][0-9]{0,14})"
_BLOCK = re.compile(
    rb'{"type":"item","id":(?:%s|"([A-Za-z0-9_-]{1,%d})")(?:,"target_id":"([A-Za-z0-9_.-]{1,%d})")?,'
    rb'"data":{"seq":%s,"at_us":%s,"uncertainty_us":%s,"source_us":%s},"bytes":%s}\n?'
    % (_NUMBER, MAX_ID_CHARS, MAX_TARGET_ID_CHARS, *(_NUMBER,) * 5)
)


def from_line(line: bytes) -> SocketMessage:
    """Read a line as SocketMessage.from_line does, and raise what it does."""
    found = _BLOCK.fullmatch(line)
    if found is None:
        return SocketMessage.from_line(line)
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
