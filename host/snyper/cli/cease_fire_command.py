"""`snyper cease-fire`: nothing is raised or armed, by anybody, until a person releases it."""

import getpass
import socket
from dataclasses import asdict
from typing import Annotated

import typer

from snyper.cli import screens
from snyper.cli.commands import HubOption, Json, run
from snyper.cli.output import err, out
from snyper.client import DEFAULT_HUB, CeaseFire, TargetResult, connect
from snyper.client.labels import natural
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system.streams import print_json

# What a person can do about a hub's refusal, by its code.
_ADVICE = {
    ErrorCode.BUSY: "end a `snyper watch` or dashboard that has its place, or hold the button of a hub board",
    ErrorCode.UNKNOWN_TYPE: "this hub is older: `snyper game stop`, `snyper lay-down all`, then update it",
}


def cease_fire(
    why: Annotated[str, typer.Option(metavar="TEXT", help="Why: everybody sees it.")] = "",
    release: Annotated[bool, typer.Option("--release", help="End it: targets may rise again.")] = False,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
) -> None:
    """Stop the game, lower all targets and let none rise, by whomever, until --release.

    It is no failure of it that a target is away or does not answer: that one is lowered when it is back.
    """

    async def work() -> tuple[CeaseFire, list[TargetResult], list[str]]:
        results: list[TargetResult] = []
        try:
            async with connect(hub) as console:
                if release:
                    return await console.release(_person()), [], []
                state = await console.cease_fire(why, _person(), results.append)
                away = [target.target_id for target in await console.targets() if not target.connected]
        except ProtocolError as error:
            if error.code not in _ADVICE:
                raise
            raise ProtocolError(error.code, f"{error.message}: {_ADVICE[error.code]}") from None
        results.sort(key=lambda result: natural(result.target_id))
        return state, results, sorted(away, key=natural)

    state, results, away = run(work(), hub)
    if as_json:
        found = {**asdict(state), "targets": [asdict(result) for result in results], "away": away}
        print_json(asdict(state) if release else found)
        return
    out.print(screens.safety_text(state, 0.0))
    if results:
        screens.print_table(screens.results_table(results), "after", "why")
    for warning in _warnings(state, results, away):
        err.print(warning)


def _warnings(state: CeaseFire, results: list[TargetResult], away: list[str]) -> list[str]:
    said = []
    silent = [result.target_id for result in results if not result.ok]
    if silent:
        said.append(f"not known to lie: {', '.join(silent)}. The hub goes on asking; look at them")
    if away:
        said.append(f"away, lowered when they are back: {', '.join(away)}")
    if state.held and not state.kept:
        said.append("it would not outlive a restart of the hub, whose log says why")
    return said


def _person() -> str:
    """Return who calls it, for people."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # nobody with a name
        user = "somebody"
    return f"{user}@{socket.gethostname()}"
