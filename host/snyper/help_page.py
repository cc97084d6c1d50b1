"""The page that `snyper --help` shows: the commands by what one wants to do."""

from typing import Any

import typer
from typer.core import TyperGroup

PANELS = {
    "Try it out": ("demo", "play"),
    "Run a range": ("hub", "simulate"),
    "See it": ("targets", "ping", "watch", "dashboard"),
    "Command targets": ("stand-up", "lay-down", "activate", "identify"),
    "Play, and look back": ("game", "history", "stats", "export"),
    "Look after boards": ("boards", "deploy", "config", "logs", "calibrate", "trace", "board"),
}


class CommandsByUse(TyperGroup):
    """A group whose commands are listed by PANELS, which has each of them once."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return [name for names in PANELS.values() for name in names]

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        width = max(map(len, self.commands))
        for panel, names in PANELS.items():
            with formatter.section(panel):
                formatter.write_dl([(name.ljust(width), self._help_of(name)) for name in names])

    def _help_of(self, name: str) -> str:
        """All of the first sentence: on more than one line if need be."""
        return self.commands[name].get_short_help_str(limit=1_000)
