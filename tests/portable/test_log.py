"""The log, when there is no memory left for it."""

from snyper.shared import log


def test_what_a_peer_says_begins_no_line() -> None:
    for said, shown in (
        ("x\n12:00:00 hub: all is well", "x\\n12:00:00 hub: all is well"),
        ("\r\t\0\x1b[2J", "\\r\\t\\x00\\x1b[2J"),
        ("Grüße", "Grüße"),
    ):
        assert log.entry("hub", said).partition(" ")[2] == "hub: " + shown, said


def test_a_defect_that_cannot_be_kept_does_no_harm() -> None:
    """Whoever logs one goes on afterwards, which an exception would prevent."""

    def full(line: str) -> None:
        raise MemoryError

    before = log._sink
    log.set_sink(full)
    try:
        log.log_exception("panel", ValueError("the defect"))
    finally:
        log._sink = before
