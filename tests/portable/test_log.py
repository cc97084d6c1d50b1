"""The log, when there is no memory left for it."""

from snyper.shared import log


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
