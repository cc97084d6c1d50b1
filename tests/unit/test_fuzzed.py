"""What fuzzing has found that reaches more of the code, and the verdict of each runtime on it."""

from pathlib import Path

from tools.faults.fuzz import KEPT, alike, kept, on_micropython
from tools.faults.fuzz_targets import TARGETS, keys, sealed_stream, verdict

LINES = [line.split("\t") for line in KEPT.read_text("utf-8").splitlines() if not line.startswith("#")]
INPUTS = [(name, bytes.fromhex(digits)) for name, digits, *_ in LINES]


def test_each_target_has_some() -> None:
    assert kept().keys() == TARGETS.keys()


def test_on_cpython() -> None:
    for (name, data), (_, _, due, *_) in zip(INPUTS, LINES, strict=True):
        assert verdict(name, data) == due, (name, data)


def test_on_micropython(micropython: Path) -> None:
    for (name, data), line, found in zip(INPUTS, LINES, on_micropython(INPUTS), strict=True):
        assert found == line[-1], (name, data)


def test_the_runtimes_differ_in_nothing_but_json() -> None:
    for line in LINES:
        assert alike(line[2], line[-1]), line
    assert not alike("ping:1", "ping:2")
    assert not alike("ping:1", "bad_message")
    assert alike("bad_json ping:1", "ping:0 ping:1")


def test_what_is_sealed_is_opened() -> None:
    opened = sum(map(len, (b'{"type":"ping","id":1}\n', b'{"type":"stand_up","id":2}\n')))
    whole = keys(b"\x3c" + sealed_stream())
    assert whole.startswith("no key ")
    assert int(whole.split(" ")[2]) > opened
