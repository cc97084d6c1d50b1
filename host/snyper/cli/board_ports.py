"""Boards on USB as commands reach them: one, or several side by side."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from snyper.boards.deploy import (
    OnProgress,
)
from snyper.boards.fleet import BoardSpec
from snyper.boards.ports import BoardError
from snyper.boards.usb import Connection
from snyper.cli.output import can_redraw, err, fail
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED

AT_ONCE = 8

T = TypeVar("T")


@contextmanager
def connected(port: str) -> Iterator[Connection]:
    """Hold the port open for the block. Raises BoardError when nothing can open it."""
    connection = Connection(port)
    try:
        yield connection
    finally:
        connection.close()


def at_prompt(port: str, work: Callable[[Connection], T], wait: Callable[[], None] | None = None) -> T:
    """Return what `work` makes of a board whose firmware is interrupted; the board starts anew after it.

    Raises BoardError when the port cannot be opened, or the board does not answer.
    """
    with connected(port) as connection:
        if wait is not None:
            connection.on_wait = wait
        connection.enter_repl()
        try:
            return work(connection)
        finally:
            connection.on_wait = lambda: None  # it starts anew, also where `wait` ends the work
            connection.reset()


@contextmanager
def board_errors(port: str) -> Iterator[None]:
    """End the command for what goes wrong with the board in the block, and for Ctrl-C."""
    try:
        yield
    except BoardError as error:
        fail(f"{port}: {error}", EXIT_FAILED)
    except KeyboardInterrupt:
        err.print("stopped")
        raise typer.Exit(EXIT_INTERRUPTED) from None


class _Stopped(Exception):
    """Ctrl-C, in the thread of a board."""


def side_by_side(specs: list[BoardSpec], work: Callable[[BoardSpec, OnProgress], T]) -> list[T]:
    """Do `work` for each board, several at once. Ctrl-C ends each at its next step, and the command."""
    stop = threading.Event()
    columns = (
        TextColumn("{task.description:<20}"),
        TextColumn("{task.fields[phase]:<8}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    bars = Progress(*columns, console=err, transient=True, disable=not can_redraw(err))

    def progress_of(spec: BoardSpec) -> OnProgress:
        task = bars.add_task(spec.name, total=None, phase="")
        phases = [""]

        def on_progress(phase: str, done: int, total: int) -> None:
            if stop.is_set():
                raise _Stopped
            bars.update(task, phase=phase, completed=done, total=total or None)
            if phase != phases[-1] and not can_redraw(err):
                err.print(f"{spec.name}: {phase}")
            phases.append(phase)

        return on_progress

    with bars, ThreadPoolExecutor(AT_ONCE) as pool:
        futures = [pool.submit(work, spec, progress_of(spec)) for spec in specs]
        try:
            wait(futures)
        except KeyboardInterrupt:
            stop.set()
            bars.stop()
            err.print("stopped: each board starts anew with what it has, the old or the new")
            wait(futures)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    return [future.result() for future in futures]
