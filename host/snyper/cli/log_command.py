"""`snyper log`: who has called what at a server of functions and objects."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from snyper.cli.call_command import SecretFile, ServerPlace, ServiceHub, as_json, connected_server
from snyper.cli.commands import Json
from snyper.cli.output import err, fail, out
from snyper.services import OutcomeUnknown, Unreachable, call_log, deadline
from snyper.services.server_log import MAX_ENTRIES
from snyper.system import streams
from snyper.system.process import EXIT_FAILED
from snyper.system.streams import print_json
from snyper.system.text import one_line

_PERIOD_S = 0.5  # in which a server is asked what is new
_ANSWER_S = 3.0  # that it has to answer


def log(
    server: ServerPlace,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="And what is called from now on, until Ctrl-C.")
    ] = False,
    as_lines_of_json: Json = False,
    hub: ServiceHub = None,
    secret_file: SecretFile = None,
) -> None:
    """Show who has called what at a server, from where, with what, for how long, and what came of it.

    Readings are left out, calls that run still, and what is secret: `***`.
    """
    with connected_server(server, hub, secret_file) as client:
        try:
            for entry in _entries(client, follow):
                if as_lines_of_json:
                    print_json(as_json(entry))
                else:
                    out.print(_line(entry), soft_wrap=True)
        except KeyboardInterrupt:
            if not follow:
                raise
        except (ArithmeticError, AttributeError, KeyError, TypeError, ValueError):
            fail(f"what {server} answers is no log", EXIT_FAILED)


def _entries(client: Any, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield the entries of a server's log, over all its runs where it is followed."""
    last: dict[str, Any] = {}
    is_lost = False
    count = 0
    while follow or count < MAX_ENTRIES:  # a server may say that there are ever more
        try:
            with deadline(_ANSWER_S):
                page = call_log(client, last or 0)
        except (Unreachable, OutcomeUnknown) as error:
            if not follow:
                raise
            if not is_lost:
                err.print(f"{error}: it is waited for")
            is_lost = True
            streams.pause(_PERIOD_S)
            continue
        is_lost = False
        for entry in page:
            count += 1
            _warn_of_gap(last, entry)
            yield entry
            last = entry
        if not page:
            if not follow:
                return
            streams.pause(_PERIOD_S)


def _warn_of_gap(last: dict[str, Any], entry: dict[str, Any]) -> None:
    before = last.get("number", 0)
    if last and entry["run"] != last["run"]:
        err.print("the server was started anew: its log begins again")
        before = 0
    missing = entry["number"] - before - 1
    if missing:
        err.print(f"{missing:,} {'entry is' if missing == 1 else 'entries are'} not kept any more")


def _line(entry: dict[str, Any]) -> str:
    at = entry["at"].astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    called = f"{entry['name']}({entry['arguments']})"
    return one_line(f"{at}  {entry['who']}  {called}  {entry['seconds']:.3f} s  {entry['outcome']}")
