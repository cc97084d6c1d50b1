"""Nesting far beyond the limit costs one error, wherever the runtime's own stack or memory ends."""

from snyper.shared.runtime import MICROPYTHON
from snyper.shared.socket_protocol import ErrorCode, MessageLineParser, ProtocolError

# How deep the runtime's parser goes, and so the code, depends on its version and on where it is called.
_CODES = (ErrorCode.BAD_JSON, ErrorCode.BAD_MESSAGE, ErrorCode.INTERNAL)


def _check(levels: int, opening: str, leaf: str, closing: str) -> None:
    line = '{"type":"ping","id":1,"x":' + opening * levels + leaf + closing * levels + "}\n"
    found = MessageLineParser().feed(line.encode())
    assert len(found) == 1, levels
    assert isinstance(found[0], ProtocolError), levels
    assert found[0].code in _CODES, (levels, found)


def test_deep_arrays() -> None:
    for levels in (9, 50, 500, 1000, 1500, 2000):
        _check(levels, "[", "1", "]")


def test_deep_objects() -> None:
    for levels in (9, 50, 500, 650):
        _check(levels, '{"x":', "1", "}")


def test_deep_arrays_with_an_escape() -> None:
    for levels in (9, 50, 500, 1000, 1500, 2000):
        _check(levels, "[", '"\\u0041"', "]")


def test_deep_arrays_with_a_key() -> None:
    for levels in (9, 50, 500, 1000, 1500, 2000):
        _check(levels, "[", '{"x":1}', "]")


def test_the_edge_of_the_runtime() -> None:
    """Somewhere here reading still fits the runtime's stack, and looking through what was read does not."""
    for leaf in ('"\\u0041"', '{"x":1}'):
        for levels in range(1200, 1500, 16) if MICROPYTHON else range(900, 1000):
            _check(levels, "[", leaf, "]")
