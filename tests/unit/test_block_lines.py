"""The line of a block says the same, whichever way it is read."""

import pytest

from snyper.shared.socket_protocol import MAX_INTEGER, ProtocolError, SocketMessage
from snyper.system import block_lines
from tests.portable.corpus import CORPUS

DATA = '"data":{"seq":%s,"at_us":%s,"uncertainty_us":%s,"source_us":%s%s}'
PLAIN = DATA % (40, 123_456_789_012, 12, 123_456_788_000, "")


def item(head: str = '"id":7', data: str = PLAIN, size: object = 240, end: str = "\n") -> bytes:
    return f'{{"type":"item",{head},{data},"bytes":{size}}}{end}'.encode()


def read(from_line: object, line: bytes) -> object:
    assert callable(from_line)
    try:
        message = from_line(line)
    except ProtocolError as error:
        return error.code, error.message, error.id, error.attachment
    return [getattr(message, name) for name in SocketMessage.__slots__]


HEADS = (
    *('"id":0', '"id":07', '"id":-7', '"id":1.0', f'"id":{MAX_INTEGER}', f'"id":{MAX_INTEGER + 1}'),
    *(
        '"id":"a-1"',
        '"id":""',
        '"id":"%s"' % ("x" * 64),
        '"id":"%s"' % ("x" * 65),
        '"id":"\\u0061"',
        '"id":"a"b"',
    ),
    *('"id":7,"target_id":"lab.1"', '"id":7,"target_id":"a b"', '"id":7,"target_id":"%s"' % ("x" * 33)),
    *('"id":7,"target_id":"all"', '"id":7,"status":"gone"', '"target_id":"lab1","id":7', '"id":7,"id":8'),
)
NUMBERS = (
    "0",
    "00",
    "-1",
    "1.5",
    "1e3",
    "999999999999999",
    str(MAX_INTEGER),
    str(MAX_INTEGER + 1),
    "",
    "true",
)


@pytest.mark.parametrize(
    "line",
    [
        *(item(), item(end=""), item(end="\r\n"), item(end="\n\n"), b" " + item(), item(end="}\n")),
        *(item(head) for head in HEADS),
        *(
            item(data=DATA % (*numbers, ""))
            for one in NUMBERS
            for numbers in ((one, 1, 2, 3), (0, 1, 2, one))
        ),
        *(item(data=DATA % (0, 1, 2, 3, more)) for more in (',"lost":5', ',"marks":[["a",1]]', ',"seq":1')),
        *(item(size=size) for size in NUMBERS),
        *(case.line for case in CORPUS),
    ],
)
def test_it_is_read_as_any_other_line_is(line: bytes) -> None:
    assert read(block_lines.from_line, line) == read(SocketMessage.from_line, line)


def test_that_of_an_ordinary_block_goes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    line = item('"id":"0a1b-stream-1","target_id":"lab1"')
    monkeypatch.delattr(SocketMessage, "from_line")
    assert block_lines.from_line(line).data == {
        "seq": 40,
        "at_us": 123_456_789_012,
        "uncertainty_us": 12,
        "source_us": 123_456_788_000,
    }
