"""The commands that reach boards over USB: deploy, boards, config, and the USB half of logs."""

import getpass
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from snyper.boards import fleet, ports
from snyper.boards.board_files import Description, describe, dotted
from snyper.boards.deploy import REGISTER_TIMEOUT_S, OnProgress, deploy as deploy_to
from snyper.boards.deploy_plan import Firmware, Outcome
from snyper.boards.fleet import BoardSpec, Fleet, FleetError
from snyper.boards.own_keys import own_keys
from snyper.boards.ports import BoardError
from snyper.cli.board_ports import at_prompt, board_errors, connected, side_by_side
from snyper.cli.output import err, fail, out
from snyper.cli.screens import print_table
from snyper.client.labels import role_of, role_word
from snyper.shared.config import ConfigError
from snyper.system.files import shown
from snyper.system.process import EXIT_FAILED, EXIT_USAGE
from snyper.system.streams import print_json

Port = Annotated[str, typer.Option("--port", metavar="PORT", help="The board's port, such as /dev/ttyACM0.")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, everything else on stderr.")]


def deploy(
    port: Annotated[
        str | None, typer.Option(metavar="PORT", help="The board's port, such as /dev/ttyACM0.")
    ] = None,
    role: Annotated[str | None, typer.Option(metavar="ROLE", help="target or hub.")] = None,
    target_id: Annotated[str | None, typer.Option("--id", metavar="NAME", help="The target's name.")] = None,
    group: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A group of the target; may be repeated.")
    ] = None,
    hub: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST:PORT", help="The target's hub; may be repeated, tried in order."),
    ] = None,
    ssid: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"The Wi-Fi; its password comes from {fleet.PASSWORD_VARIABLE}."),
    ] = None,
    all_boards: Annotated[bool, typer.Option("--all", help="Every attached board of the fleet.")] = False,
    fleet_path: Annotated[
        Path | None, typer.Option("--fleet", metavar="PATH", help="The fleet's file [fleet.toml].")
    ] = None,
    source: Annotated[bool, typer.Option("--source", help="Send .py files, not bytecode.")] = False,
    rekey: Annotated[
        bool, typer.Option("--rekey", help="Also to a board that has a key which is none of yours.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Also to a board that is no Pico W.")] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Do not wait until the board has registered.")
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(min=1.0, max=3600.0, metavar="SECONDS", help="How long a board may take to register."),
    ] = REGISTER_TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Put the firmware and a configuration onto a board, or onto every board of the fleet.

    Only what differs is sent; a board keeps the settings that nobody names. Wi-Fi password and key are this
    user's, made by the first deploy, unless SNYPER_WIFI_PASSWORD, SNYPER_KEY or fleet.toml name others.
    """
    if all_boards == (port is not None):
        fail("name one board with --port, or take them all with --all", EXIT_USAGE)
    if all_boards and (role or target_id or group or hub or ssid):
        fail("--all takes role, id, groups, hub and Wi-Fi from the fleet's file", EXIT_USAGE)
    try:
        known = _fleet(fleet_path, required=all_boards)
        if port is None:
            specs = _attached(known)
        else:
            options = BoardSpec(
                role=_role(role),
                port=port,
                target_id=target_id,
                groups=group or None,
                hub=hub or None,
                ssid=ssid,
            )
            specs = [known.find(port, ports.serial_number_of(port), _with_password(options))]
        specs = [fleet.with_environment(spec) for spec in specs]
        for spec in specs:
            fleet.check_role(spec)
    except FleetError as error:
        fail(str(error), EXIT_USAGE)
    specs = _with_own_keys(specs, rekey)
    try:
        firmware = {spec.role: Firmware.of_checkout(spec.role, source) for spec in specs}
    except OSError as error:
        fail(str(error), EXIT_FAILED)

    def one(spec: BoardSpec, on_progress: OnProgress) -> Outcome:
        try:
            with connected(spec.port) as connection:
                register_timeout_s = None if no_wait else timeout
                return deploy_to(
                    connection, firmware[spec.role], spec, on_progress, force, register_timeout_s
                )
        except (BoardError, FleetError) as error:
            return Outcome(spec.port, spec.role, spec.target_id or "", error=str(error))

    outcomes = side_by_side(specs, one)
    for outcome in outcomes:
        for remark in outcome.remarks:
            err.print(f"{_name(outcome)}: {remark}")
        if outcome.error:
            err.print(f"snyper: {_name(outcome)}: {outcome.error}")
    if as_json:
        print_json({"boards": [asdict(outcome) for outcome in outcomes]})
    else:
        print_table(_outcomes_table(outcomes), "config", "files", "role")
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(EXIT_FAILED)


def boards(
    port: Annotated[
        list[str] | None, typer.Option(metavar="PORT", help="Only this port; may be repeated.")
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask/--no-ask", help="Ask the boards what runs; each starts anew after it.")
    ] = True,
    as_json: Json = False,
) -> None:
    """List the boards on USB, with what runs on each.

    To ask a board interrupts its firmware for a second and then resets it; --no-ask leaves it alone. What is
    no Pico is asked only where --port names it.
    """
    attached = ports.usb_ports()
    if port:
        by_port = {found.port: found for found in attached}
        attached = [by_port.get(name, ports.UsbPort(name, "", "")) for name in port]
    if not attached:
        err.print("no board is attached to this computer's USB")
    # What others make may be a printer or a modem, which takes a Ctrl-C for something else.
    asked = [found.port for found in attached if ask and (port or found.may_be_pico)]

    def one(spec: BoardSpec, on_progress: OnProgress) -> tuple[Description | None, str]:
        if spec.port not in asked:
            return None, ""
        try:
            on_progress("ask", 0, 0)
            return at_prompt(spec.port, describe, lambda: on_progress("ask", 0, 0)), ""
        except BoardError as error:
            return None, str(error)

    answers = side_by_side([BoardSpec(port=found.port) for found in attached], one)
    rows = [_board_row(found, *answer) for found, answer in zip(attached, answers, strict=True)]
    if as_json:
        print_json(rows)
    elif rows:
        table = Table()
        table.add_column("port", no_wrap=True)
        for column in ("serial", "board", "MicroPython", "role", "version"):
            table.add_column(column)
        table.add_column("target", no_wrap=True)
        for row in rows:
            shown = {**row, "role": role_word(str(row["role"]))}
            table.add_row(*(Text(str(value)) for name, value in shown.items() if name != "error"))
        print_table(table, "MicroPython", "board", "serial", "version")
    for row in rows:
        if row["error"]:
            err.print(f"snyper: {row['port']}: {row['error']}")
    if any(row["error"] for row in rows):
        raise typer.Exit(EXIT_FAILED)


def config(
    port: Port,
    role: Annotated[
        str | None, typer.Option(metavar="ROLE", help="Check it for this role, not for the board's own.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a board's configuration, defaults included, and check it. Passwords and keys show as ***.

    That interrupts the firmware, and the board starts anew after it.
    """
    role = _role(role)
    with board_errors(port):
        found = at_prompt(port, describe)
    err.print(f"{port}: the board was interrupted and starts anew")
    role = role or found.role
    if not role:
        fail(f"{port}: nothing of SNYPER is on this board: `snyper deploy` puts it there", EXIT_FAILED)
    error = ""
    shown: dict[str, Any] = {}
    if found.config is None:
        error = "there is no config.json on the board; its firmware runs with the defaults"
    else:
        try:
            shown = fleet.masked(fleet.check(role, found.config, found.identity.platform))
        except ConfigError as wrong:
            error = f"config.json is not valid for a {role_word(role)}: {wrong}"
    if as_json:
        print_json({"port": port, "role": role, "valid": not error, "error": error, "config": shown})
    elif shown:
        out.print(json.dumps(shown, indent=2, ensure_ascii=False), soft_wrap=True)
    if error:
        fail(f"{port}: {error}", EXIT_FAILED)


# --- which boards, and their secrets


def _role(word: str | None) -> str:
    """Return the role of an option; "" where it is left out."""
    role = role_of(word or "")
    if word and not role:
        fail(f"--role {word}: a board is a target or a hub", EXIT_USAGE)
    return role


def _fleet(path: Path | None, required: bool) -> Fleet:
    is_named = path is not None
    path = path or fleet.FLEET
    try:
        found = fleet.load(path)
        if path.stat().st_mode & 0o077 and sys.platform != "win32":
            err.print(f"{path} may hold secrets and others can read it: chmod 600 {path}")
    except FileNotFoundError:
        if is_named or required:
            fail(
                f"there is no {path}: name another with --fleet, or one board with --port",
                EXIT_USAGE,
            )
        return Fleet()
    except OSError as error:
        fail(f"{path}: {error.strerror}", EXIT_USAGE)
    if required and not found.boards:
        fail(f"{path} names no board: write a [[board]] for each", EXIT_USAGE)
    return found


def _attached(known: Fleet) -> list[BoardSpec]:
    port_of = {found.serial_number.lower(): found.port for found in ports.usb_ports() if found.serial_number}
    specs = []
    for board in known.boards:
        is_there = board.port in port_of.values() or (board.port and Path(board.port).exists())
        port = board.port if is_there else port_of.get(board.serial.lower(), "")
        if port:
            specs.append(BoardSpec(port=port).over(board))
        else:
            err.print(f"{board.name}: not attached, left out")
    if not specs:
        fail("no board of the fleet is attached: `snyper boards` lists what is", EXIT_FAILED)
    return specs


def _with_password(options: BoardSpec) -> BoardSpec:
    """Add to a Wi-Fi named in an option its own password: from the environment, else from the terminal."""
    if options.ssid is None:
        return options
    password = fleet.with_environment(BoardSpec()).password
    if password is None:
        if not sys.stdin.isatty():
            fail(
                f"--ssid needs a password: set {fleet.PASSWORD_VARIABLE}, empty for an open network",
                EXIT_USAGE,
            )
        password = getpass.getpass(f"Wi-Fi password of {options.ssid} (empty for an open network): ")
    return BoardSpec(password=password).over(options)


def _with_own_keys(specs: list[BoardSpec], rekey: bool) -> list[BoardSpec]:
    """Add this user's keys, for what no spec names; say what was made, and where it is."""
    has_hub_board = any(spec.role == "master" and spec.password is None for spec in specs)
    if not has_hub_board and all(spec.key is not None for spec in specs):
        return specs
    try:
        own, made = own_keys(has_hub_board, rekey)
    except ValueError as error:
        fail(str(error), EXIT_FAILED)
    if made:
        err.print(
            f"made {' and '.join(made)}, for you alone to read in {shown(own.path)}: every `snyper` of yours"
            " finds it there",
            markup=False,
            soft_wrap=True,
        )
    return [replace(spec, own=own) for spec in specs]


# --- what people see


def _name(outcome: Outcome) -> str:
    return f"{outcome.target_id} ({outcome.port})" if outcome.target_id else outcome.port


def _outcomes_table(outcomes: list[Outcome]) -> Table:
    table = Table()
    for column in ("port", "role", "target"):
        table.add_column(column, no_wrap=True)
    table.add_column("files")
    table.add_column("config")
    table.add_column("result", no_wrap=True)
    for outcome in outcomes:
        counts = {"sent": outcome.sent, "unchanged": outcome.unchanged, "removed": outcome.removed}
        if outcome.error:
            result = Text("failed", "bold red")
        else:
            result = Text("deployed" if outcome.registered is None else "registered", "green")
        table.add_row(
            *(Text(text) for text in (outcome.port, role_word(outcome.role), outcome.target_id)),
            ", ".join(f"{count} {word}" for word, count in counts.items() if count),
            outcome.config,
            result,
        )
    return table


def _board_row(found: ports.UsbPort, description: Description | None, error: str) -> dict[str, object]:
    row: dict[str, object] = {"port": found.port, "serial": found.serial_number, "board": found.product}
    said = ("", "", "", "")
    if description is not None:
        row["board"] = description.identity.name
        version = dotted(description.identity.version)
        said = (version, description.role, description.version, description.target_id)
    row.update(zip(("micropython", "role", "version", "target_id"), said, strict=True))
    return {**row, "error": error}
