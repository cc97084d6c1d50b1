"""The one place that asks whether this is MicroPython or CPython: each has a file with the same names."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Timer(Protocol):
        """What `call_later` returns."""

        def cancel(self) -> None: ...


MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    from snyper.shared.runtime_micropython import *  # noqa: F403
else:
    from snyper.shared.runtime_cpython import *  # noqa: F403
