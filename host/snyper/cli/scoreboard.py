"""Draw how a game stands, in a terminal."""

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from snyper.client import GameState
from snyper.client.game_state import progress_words, ranking, seconds_to_start
from snyper.client.labels import plural
from snyper.system.text import one_line


def summary(state: GameState, hub_us: int | None = None, note: str = "") -> Text:
    """Format `state` as a sentence, where a board does not fit."""
    scores = ", ".join(
        f"{'► ' if player == state.turn else ''}{player} {score}" for _, player, score in ranking(state)
    )
    said = [words for words in (scores, progress_words(state, hub_us), note) if words]
    return Text.assemble((f"{one_line(state.game)}: ", "bold"), one_line("; ".join(said)))


def scoreboard(state: GameState, hub_us: int | None = None, note: str = "") -> RenderableType:
    """Format `state` as a board with the best on top. `hub_us`, the hub's clock now, is for the countdown."""
    table = Table(box=None, show_header=False, expand=True, pad_edge=False)
    table.add_column(width=3)
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(justify="right")
    over = state.status == "over"
    for place, player, score in ranking(state):
        leads = place == 1 and score > 0
        mark = "►" if player == state.turn else "★" if over and leads else f"{place}."
        style = "bold green" if leads else "bold" if player == state.turn else ""
        table.add_row(Text(mark, style), Text(one_line(player), style), Text(str(score), style))
    lines: list[RenderableType] = [table]
    words = one_line(progress_words(state, hub_us))
    if over:
        lines.append(Text(words, "dim"))
    elif seconds_to_start(state, hub_us):
        lines.append(Text(words, "bold yellow"))
    elif state.total:
        progress = Table.grid(expand=True, padding=(0, 1))
        progress.add_column(ratio=1)
        progress.add_column(justify="right")
        progress.add_row(ProgressBar(state.total, state.done), Text(words, "dim"))
        lines.append(progress)
    if note:
        lines.append(Text(one_line(note), "italic"))
    return Panel(
        Group(*lines),
        title=Text(one_line(f"{state.game}, {plural(state.targets, 'target')}")),
        padding=(0, 1),
    )
