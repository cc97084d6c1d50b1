"""The one place that asks whether this is MicroPython or CPython: each has a file with the same names."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Timer(Protocol):
        """A timer, as `call_later` returns it."""

        def cancel(self) -> None: ...

    class StreamOwner(Protocol):
        """The owner of a Stream, which calls it."""

        def data_received(self, data: "bytes | memoryview") -> None:
            """Take bytes of the peer: a view of the stream's `buffer`, where the owner has given it one. What
            this raises comes back to `connection_lost`; the others raise nothing.
            """

        def resume_writing(self) -> None: ...

        def write_progressed(self, at_us: int) -> None:
            """Take that some of what was written has left since the instant `at_us` of `now_us()`. On CPython
            alone, to whoever is attached: a board writes little at once.
            """

        def connection_lost(self, error: "Exception | None") -> None:
            """Take that the peer has hung up, or that the connection broke by `error`. May come twice."""


MICROPYTHON = sys.implementation.name == "micropython"

if MICROPYTHON:
    from snyper.shared.runtime_micropython import *  # noqa: F403
else:
    from snyper.shared.runtime_cpython import *  # noqa: F403
