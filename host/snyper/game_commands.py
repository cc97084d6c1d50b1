"""`snyper game`: list, start, stop, watch, scores. The board itself is drawn by scoreboard.py."""

import typer

from snyper.scoreboard import after, ranking, scoreboard

game = typer.Typer(help="Play: list the games, start one, watch it.", no_args_is_help=True)

__all__ = ["after", "game", "ranking", "scoreboard"]
