"""Tables and lines for people in a terminal."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from snyper.cli.output import can_redraw, err, out
from snyper.client import (
    CeaseFire,
    Event,
    ServiceInfo,
    TargetInfo,
    TargetResult,
    events,
)
from snyper.client.labels import AWAY, duration, natural, rest_text, result_word, safety_detail, state_word
from snyper.streams.info import StreamInfo
from snyper.system.text import json_text, one_line

SMALL_COLUMNS, SMALL_ROWS = 60, 16  # a terminal below either has no space for frames
_STATE_STYLES = {
    "standing": "green",
    "armed": "bold red",
    "rising": "yellow",
    "arming": "yellow",
    "falling": "yellow",
    "fault": "bold white on red",
}


def print_table(table: Table, *lesser: str) -> None:
    """Print a table, in a narrow terminal without those `lesser` columns that do not fit."""
    out.print(fitted(table, out, lesser) if out.is_terminal else table)


def fitted(table: Table, console: Console, lesser: Iterable[str]) -> Table:
    """Take off a table those `lesser` columns that do not fit beside the others: the first goes first. A
    narrow terminal has no frames either.
    """
    if console.width < SMALL_COLUMNS:
        table.box, table.padding, table.pad_edge = None, (0, 1, 0, 0), False
    unlimited = console.options.update(max_width=10_000)
    for column in table.columns:
        if column.no_wrap:  # which a table takes for what to cut, not for what has to have its space
            cells = [*([column.header] if table.show_header else []), *column.cells]
            widths = [console.measure(cell, options=unlimited).maximum for cell in cells]
            widest = max(widths, default=0)
            column.min_width = min(widest, column.max_width or widest)
    for header in lesser:
        if console.measure(table, options=unlimited).minimum <= console.width:
            break
        table.columns[:] = [column for column in table.columns if column.header != header]
    return table


def safety_text(state: CeaseFire, ago_s: float) -> Text:
    """Format in a line whether a cease fire holds, by whom and since when, as it was told `ago_s` ago."""
    word, style = ("SAFE", "bold white on green") if state.held else ("ARMED", "bold white on red")
    detail = one_line(safety_detail(state, time.time() - ago_s))
    return Text.assemble((f" {word} ", style), f" {detail}" if detail else "")


def tell_safety(state: CeaseFire | None) -> None:
    """Say on stderr that a cease fire holds, for who is told the events from now on."""
    if state is not None and state.held:
        err.print(safety_text(state, 0.0))


def safety_bar(state: CeaseFire, ago_s: float, width: int) -> Text:
    """Format the same as a bar of that width, to be seen from afar."""
    bar = safety_text(state, ago_s)
    style = str(bar.spans[0].style)
    bar = Text(bar.plain, style, no_wrap=True, overflow="ellipsis")
    bar.truncate(width, overflow="ellipsis")
    bar.align("center", width)
    return bar


def targets_table(targets: Iterable[TargetInfo]) -> Table:
    """Build the table of the targets and what the hub knows of them."""
    table = Table()
    table.add_column("target", overflow="fold")
    for name in ("state", "round trip", "groups", "firmware"):
        table.add_column(name, no_wrap=name == "round trip")
    for target in sorted(targets, key=lambda target: natural(target.target_id)):
        table.add_row(
            Text(target.target_id),
            state_text(target),
            milliseconds(target.round_trip_us) if target.connected else "",
            Text(one_line(" ".join(target.groups))),
            Text(one_line(target.firmware)),
        )
    return table


def services_table(services: Iterable[ServiceInfo]) -> Table:
    """Build the table of the services and what the hub knows of them."""
    table = Table()
    table.add_column("service", overflow="fold")
    for name in ("state", "round trip", "serves"):
        table.add_column(name, no_wrap=name == "round trip")
    for service in services:
        table.add_row(
            Text(service.target_id),
            Text("here", "green") if service.connected else away_text(service.seen_ms_ago),
            milliseconds(service.round_trip_us) if service.connected else "",
            Text(one_line(service.firmware)),
        )
    return table


def streams_table(streams: Iterable[StreamInfo]) -> Table:
    """Build the table of the streams that a hub knows."""
    table = Table()
    table.add_column("stream", overflow="fold")
    for name in ("state", "samples", "read by", "lost", "kept"):
        table.add_column(name, no_wrap=name != "samples")
    for info in streams:
        shape = "×".join(map(str, info.shape))
        rate = f" at {info.rate_hz:,g} Hz" if info.rate_hz else ""
        table.add_row(
            Text(one_line(info.name)),
            Text("here", "green") if info.connected else Text("away", "red"),
            Text(one_line(" ".join(filter(None, (info.dtype, shape))) + rate)),
            str(info.subscribers),
            f"{info.lost:,}",
            f"{info.kept_ms / 1000:.0f} s" if info.kept_bytes else "",
        )
    return table


def results_table(results: Iterable[TargetResult], with_answers: bool = False) -> Table:
    """Build the table of what each target made of a command; `with_answers` also the data of its answer, as
    JSON.
    """
    table = Table()
    table.add_column("target", overflow="fold")
    table.add_column("result", overflow="fold")
    table.add_column("after", no_wrap=True)
    results = list(results)
    scheduled = any("error_us" in result.data for result in results)
    if scheduled:
        table.add_column("began", justify="right", no_wrap=True)
    refused = any(result.message for result in results)
    if refused:
        table.add_column("why")
    answered = with_answers and any(result.data for result in results)
    if answered:
        table.add_column("answer", overflow="fold")
    for result in results:
        style = "green" if result.ok else "bold red"
        status = result_word(result.status) if result.ok else one_line(f"{result.status}: {result.code}")
        row = [Text(result.target_id), Text(status, style), Text(milliseconds(result.round_trip_us))]
        if scheduled:
            row.append(Text(_begin(result.data)))
        if refused:
            row.append(Text(one_line(result.message)))
        if answered:
            row.append(Text(json_text(result.data) if result.data else ""))
        table.add_row(*row)
    return table


def _begin(data: dict[str, object]) -> str:
    """Format how far from its instant a target began, and how sure it is of that."""
    error_us, uncertainty_us = data.get("error_us"), data.get("uncertainty_us")
    if not isinstance(error_us, int) or not isinstance(uncertainty_us, int):
        return ""
    return f"{error_us / 1000:+.1f} ms ±{uncertainty_us / 1000:.1f}"


def event_line(event: Event, at: str | None = None, is_short: bool = False) -> Text:
    """Format an event as one line, whatever its words are, with the time of day `at` which it was heard, by
    default now; a short line has neither that nor columns.
    """
    name_chars, event_chars = (0, 0) if is_short else (12, 15)
    return Text.assemble(
        "" if is_short else f"{at or time.strftime('%H:%M:%S')} ",
        (f"{event.target_id:<{name_chars}} " if event.target_id or name_chars else "", "bold"),
        (f"{one_line(event.event):<{event_chars}} ", events.kind_of(event).style),
        one_line(events.line_of(event)),
    )


def piezo_warnings(targets: Iterable[TargetInfo]) -> list[Text]:
    """Format a line for each target that cannot detect a hit, and what to do about it."""
    return [
        Text(f"{target.target_id}: its piezo {rest_text(target.rests_at)}", "bold red")
        for target in sorted(targets, key=lambda target: natural(target.target_id))
        if target.connected and target.rests_at
    ]


@contextmanager
def progress(console: Console, title: str) -> Iterator[Callable[[TargetResult], None]]:
    """Show a counter of results, while there are many of them and stdout is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not can_redraw(console)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda result: bar.advance(task)


def state_text(target: TargetInfo, is_short: bool = False) -> Text:
    """Return how the target stands, or for how long it is away."""
    if target.connected:
        state = Text(one_line(state_word(target.state)), _STATE_STYLES.get(target.state, ""))
        return state.append(", twice", "bold red") if target.last_error == "duplicate" else state
    return away_text(None if is_short else target.seen_ms_ago)


def away_text(for_ms: int | None) -> Text:
    """Say in red that a peer is away, and for how long where that is wanted."""
    return Text(AWAY if for_ms is None else f"away for {duration(for_ms / 1000)}", "bold red")


def milliseconds(microseconds: int | None) -> str:
    """Write it in milliseconds; empty for what is not known."""
    return "" if microseconds is None else f"{microseconds / 1000:.1f} ms"
