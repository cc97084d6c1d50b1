"""What every test has: no deadline for hypothesis, and no task or callback that dies unnoticed."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from snyper.boards.micropython import MicropythonNotFoundError, find_micropython

# A slow machine is no failure.
settings.register_profile("snyper", deadline=None)
settings.load_profile("snyper")


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(logging.Formatter().format(record))


@pytest.fixture(autouse=True)
def _nothing_dies_unnoticed() -> Iterator[None]:
    """Fail a test in which a forgotten task or a callback raised, which asyncio only logs."""
    errors = _Errors()
    logger = logging.getLogger("asyncio")
    logger.addHandler(errors)
    yield
    logger.removeHandler(errors)
    assert not errors.texts, "\n".join(errors.texts)


@pytest.fixture(scope="session")
def micropython() -> Path:
    """Return the MicroPython on this machine; without one the test is skipped."""
    try:
        return find_micropython()
    except MicropythonNotFoundError as error:
        pytest.skip(str(error))
