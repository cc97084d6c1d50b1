"""The page that `snyper --help` shows: the commands by what one wants to do."""

import re
from collections.abc import Callable
from math import isfinite
from operator import add
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup

from snyper.cli.output import fail
from snyper.system.process import EXIT_FAILED

F = TypeVar("F", bound=Callable[..., Any])

PANELS = {
    "Try it out": ("demo", "play"),
    "Run a range": ("hub", "keys", "simulate"),
    "See it": ("targets", "ping", "watch", "dashboard"),
    "Command targets": ("stand-up", "lay-down", "activate", "identify", "send", "cease-fire"),
    "Play, and look back": ("game", "history", "stats", "export"),
    "Call what others serve": ("services", "call", "log", "stubs"),
    "Hand heavy work over": ("serve", "gateway", "receive", "push", "outbox"),
    "Keep arrays, read streams": ("arrays", "stream", "recordings", "plot", "simulate-signal"),
    "See what cameras see": ("cameras", "simulate-cameras"),
    "Look after boards": ("boards", "deploy", "config", "logs", "calibrate", "trace", "board"),
}


_NEGATIVE_NUMBER = re.compile(r"-\d+(\.\d+)?([eE][+-]?\d+)?")


class CommandWithNumbers(TyperCommand):
    """A command that takes negative numbers, since no option is one, and none that is not finite."""

    def collect_usage_pieces(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the usage, with `...` behind what there may be more of."""
        options, *arguments = super().collect_usage_pieces(ctx)
        params = [param for param in self.params if isinstance(param, TyperArgument)]
        marks = ["" if param.nargs == 1 else "..." for param in params]
        return [options, *map(add, arguments, marks)]

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse them. With a space before it a number does not begin as an option does, and is the same."""
        rest = super().parse_args(
            ctx, [f" {one}" if _NEGATIVE_NUMBER.fullmatch(one) else one for one in args]
        )
        for param in self.params:
            value = ctx.params.get(param.name or "")
            if isinstance(value, float) and not isfinite(value):
                raise typer.BadParameter(f"{value} is no number", ctx=ctx, param=param)
        return rest


class App(typer.Typer):
    """An app whose commands are of that kind."""

    def command(self, name: str | None = None, **settings: Any) -> Callable[[F], F]:
        return super().command(name, cls=CommandWithNumbers, **settings)


class CommandsByUse(TyperGroup):
    """A group whose commands are listed by PANELS, which has each of them once."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Parse what the group's own options are for. Of these --install-completion takes a home for granted,
        that it may write in.
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
        """Return all of the first sentence: on more than one line if need be."""
        return self.commands[name].get_short_help_str(limit=1_000)
