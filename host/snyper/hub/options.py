"""The options of a hub on a computer, as arguments of its process too."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from snyper.client.addresses import TLS_SCHEME, dial_address
from snyper.firmware.board.status import Status
from snyper.firmware.master.crosstalk import (
    CROSSTALK_MS as CROSSTALK_MS,
    MAX_CROSSTALK_MS as MAX_CROSSTALK_MS,
)
from snyper.hub.journal import KEEP_DAYS
from snyper.shared.address import parse_address
from snyper.system.files import shown
from snyper.system.streams import print_json, say


@dataclass(frozen=True)
class Options:
    """The options of a hub. `listen` is HOST:PORT, of every address without a host, empty where it is to be
    decided; an `is_open` one lets everybody in; `journal` the file that keeps the events for `keep_days`,
    None for none; `limits` are NAME=NUMBER, as `limits.py` has them. With `tls` peers may also speak that.
    With `as_json` the process prints its status as JSON on stdout.
    """

    listen: str = ""
    journal: Path | None = None
    keep_days: int = KEEP_DAYS
    crosstalk_ms: int = CROSSTALK_MS
    limits: tuple[str, ...] = ()
    tls: bool = False
    as_json: bool = False
    is_open: bool = False

    def arguments(self) -> list[str]:
        """Return the arguments that `parse` makes these options of."""
        found = ["--keep-days", str(self.keep_days)]
        found += ["--crosstalk-ms", str(self.crosstalk_ms)]
        for limit in self.limits:
            found += ["--limit", limit]
        if self.journal is not None:
            found += ["--journal", str(self.journal)]
        found += ["--listen", self.listen] if self.listen else []
        found += ["--open"] if self.is_open else []
        found += ["--tls"] if self.tls else []
        return [*found, "--json"] if self.as_json else found


def parse(arguments: Sequence[str]) -> Options:
    """Read the arguments of `python -m snyper.hub`. Raises SystemExit for what is none of them."""
    parser = argparse.ArgumentParser(
        prog="python -m snyper.hub", description="What `snyper hub` becomes, without the command line."
    )
    default = Options()
    parser.add_argument("--listen", metavar="HOST:PORT", default=default.listen)
    parser.add_argument("--journal", metavar="PATH", type=Path, help="without it: the last events, in memory")
    parser.add_argument("--keep-days", metavar="DAYS", type=int, default=default.keep_days)
    parser.add_argument("--crosstalk-ms", metavar="MS", type=int, default=default.crosstalk_ms)
    parser.add_argument("--limit", metavar="NAME=NUMBER", dest="limits", action="append", default=[])
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--json", dest="as_json", action="store_true")
    parser.add_argument("--open", dest="is_open", action="store_true")
    found = vars(parser.parse_args(arguments))
    found["limits"] = tuple(found["limits"])
    return Options(**found)


def announce(options: Options, is_keyed: bool, address: str, engine: str = "cpython") -> None:
    """Say where a hub listens, for whom, and where it keeps what happens; `address` is one to dial."""
    if options.as_json:
        print_json({"status": Status.LISTENING, "listen": address, "engine": engine, "open": options.is_open})
    journal = options.journal
    kept = "the last events in memory only" if journal is None else f"its journal in {shown(journal)}"
    say(f"hub: keeps {kept}")
    is_one = dial_address(options.listen) == parse_address(options.listen)
    if options.is_open:
        say("hub: open: whoever reaches it commands every target, without a key")
    elif not is_keyed:
        say("hub: it has no key, so it is for this computer alone; `snyper keys new` makes one")
    also = f", with TLS too: {TLS_SCHEME}{address}" if options.tls else ""
    say(f"hub: listening on {'' if is_one else 'every address, here '}{address}{also}; Ctrl-C stops it")
