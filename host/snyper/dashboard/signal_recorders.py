"""The recordings of streams that people begin on the page: they go on until somebody ends them."""

import asyncio
import itertools
import shutil
from contextlib import ExitStack
from pathlib import Path

from snyper.client import HubClient
from snyper.client.labels import plural
from snyper.dashboard.signal_feed import problem_of
from snyper.recordings import Recorder
from snyper.recordings.session import keep_within, only_recorder, put_mark, record_stream
from snyper.shared.socket_protocol import ProtocolError
from snyper.system import steady
from snyper.system.files import shown
from snyper.system.temporary import temporary_folder

MOST_RECORDED = (
    8  # at once, each of which may have 64 MiB that wait for the disk, and 1 GiB in files elsewhere
)


class Running:
    """A recording that runs, from when it was asked for on."""

    def __init__(self) -> None:
        self.folder: Path | None = None  # before the first block
        self.recorder: Recorder | None = None
        self.task: asyncio.Task[None]
        self._began_s = steady.now_s()

    @property
    def seconds(self) -> float:
        """Return for how long it has recorded."""
        return steady.now_s() - self._began_s if self.recorder is not None else 0.0

    def begin(self, folder: Path, recorder: Recorder) -> None:
        """Note where it is: the first block has come."""
        self.folder, self.recorder = folder, recorder
        self._began_s = steady.now_s()

    def words(self) -> tuple[str, bool]:
        """Return how it stands, and whether that is bad news."""
        if self.recorder is None:
            return "Recording: waits for the first sample", False
        if failing := self.recorder.progress.failing:
            return f"Recording: {failing} ({self.figures()})", True
        return f"Recording: {self.figures()}", False

    def figures(self) -> str:
        """Return how much it has."""
        if self.recorder is None:
            return "nothing was recorded"
        progress = self.recorder.progress
        missing = f"{progress.gaps:,} missing" if progress.gaps else "none missing"
        return f"{clock_length(self.seconds)}, {plural(progress.stored, 'sample')}, {missing}"


class SignalRecorders:
    """Recorders of streams into folders in `place`, which is theirs alone while any runs. Meanwhile the
    oldest there goes beyond `max_age_s` and `max_bytes`.
    """

    def __init__(
        self, hub: HubClient, place: Path, max_age_s: float | None = None, max_bytes: int | None = None
    ) -> None:
        self.place = place
        self._keep = max_age_s, max_bytes
        self._keeping: asyncio.Task[None] | None = None
        self.running: dict[str, Running] = {}
        self.problems: dict[str, str] = {}  # of those that ended by themselves: why
        self._hub = hub
        self._changing = asyncio.Lock()
        self._held = ExitStack()  # the place, and the folder for what it does not take in time
        self._spill = Path()
        self._numbers = itertools.count()

    async def begin(self, name: str) -> None:
        """Record a stream, unless it is recorded. Raises OSError for a place that cannot be used, InUse where
        another process records there, ValueError where too many are recorded.
        """
        async with self._changing:
            if name in self.running:
                return
            if len(self.running) >= MOST_RECORDED:
                raise ValueError(f"{MOST_RECORDED} streams are recorded: end another recording first")
            try:
                if not self.running:
                    await asyncio.to_thread(self._hold)
                    self._keeping = asyncio.create_task(keep_within(self.place, *self._keep))
                spill = self._spill / str(next(self._numbers))
                await asyncio.to_thread(spill.mkdir)
                self.problems.pop(name, None)
                running = self.running[name] = Running()
                running.task = asyncio.create_task(self._record(name, spill, running))
            finally:
                self._let_go()

    async def end(self, name: str) -> Running | None:
        """End the recording of a stream, with all that has come, and return it; None where there is none."""
        running = self.running.get(name)
        if running is not None:
            running.task.cancel()
            await asyncio.wait((running.task,))
        return running

    async def mark(self, name: str, mark: str) -> ProtocolError | None:
        """Name this instant in a stream, and in its recording where it is recorded. Return why the stream has
        not that mark, or perhaps not.
        """
        running = self.running.get(name)
        return await put_mark(self._hub, name, mark, None if running is None else running.recorder)

    async def close(self) -> None:
        """End all."""
        while self.running:
            await asyncio.gather(*map(self.end, self.running))

    async def _record(self, name: str, spill: Path, running: Running) -> None:
        try:
            await record_stream(self._hub, name, self.place, spill, running.begin)
            self.problems[name] = "the stream has ended"
        except ProtocolError as error:
            self.problems[name] = problem_of(error)
        except OSError as error:
            self.problems[name] = f"{shown(self.place)} takes nothing ({error.strerror or error})"
        except ValueError as error:
            self.problems[name] = str(error)
        finally:
            async with self._changing:
                del self.running[name]
                await asyncio.to_thread(shutil.rmtree, spill, ignore_errors=True)
                self._let_go()

    def _hold(self) -> None:
        with ExitStack() as stack:
            stack.enter_context(only_recorder(self.place))
            self._spill = stack.enter_context(temporary_folder())
            self._held = stack.pop_all()

    def _let_go(self) -> None:
        if not self.running:
            if self._keeping is not None:
                self._keeping.cancel()
            self._held.close()


def clock_length(seconds: float) -> str:
    """Format a length as clocks do: 0:07, 12:30, 1:02:30."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
