"""How every command speaks: results on stdout, all else on stderr, and the exit status."""

import json
import sys
from typing import NoReturn

import typer
from rich.console import Console

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NO_HUB = 3
EXIT_INTERRUPTED = 130

err = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
out = Console(highlight=False, emoji=False)


def fail(message: str, status: int) -> NoReturn:
    """Ends the command with a line on stderr."""
    err.print(f"snyper: {message}", markup=False)
    raise typer.Exit(status)


def print_json(value: object) -> None:
    """A line of JSON on stdout, at once."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
    sys.stdout.flush()
