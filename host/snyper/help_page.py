"""The page that `snyper --help` shows: the commands by what one wants to do."""

from typing import Any

import typer
from typer.core import TyperGroup

from snyper.output import EXIT_FAILED, fail

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

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Also does what the group's own options are for. Of these --install-completion takes a home for
        granted, that it may write in.
        """
        try:
            return super().parse_args(ctx, args)
        except typer.Exit:  # a RuntimeError too
            raise
        except RuntimeError:
            why = "there is no home directory"
        except UnicodeDecodeError:
            why = "your shell's file is not UTF-8"
        except OSError as error:
            why = f"{error.filename}: {error.strerror}"
        fail(f"completion is not installed ({why}): --show-completion shows what to install", EXIT_FAILED)

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
