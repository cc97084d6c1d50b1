"""Bring one board to what it is to be: stage, commit, apply, verify.

A cable pulled at any moment leaves the old firmware or the new one, or a board that the next deploy mends:
everything is written beside what runs, one rename decides, and what comes after that rename
(`firmware/board/update.py`) is taken up again at each boot until it is done.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import PurePosixPath

from snyper.boards import image
from snyper.boards.board_files import MAINTENANCE, NEW_RECORD, RECORD, STAGE, refuse_unsuitable
from snyper.boards.deploy_plan import Firmware, Outcome, Plan, compare
from snyper.boards.fleet import BoardSpec
from snyper.boards.ports import BoardError
from snyper.boards.status import UP, parse_status
from snyper.boards.usb import Connection, Identity, LostError, sha256
from snyper.firmware.board.status import Status

REGISTER_TIMEOUT_S = 60.0
STAGE_ATTEMPTS = 3  # of writing what does not arrive whole
BACK_S = 4.0  # for a board to say by itself that it is back, before it is interrupted again

UPDATE_SOURCE = image.PACKAGE / "firmware" / "board" / "update.py"


_LEAVE_MAINTENANCE = f"import os\nif {MAINTENANCE[1:]!r} in os.listdir('/'): os.remove({MAINTENANCE!r})"
_DISCARD = f"""
import os
def discard(folder, kept):
    for name in os.listdir(folder):
        path = folder + '/' + name
        if os.stat(path)[0] & 0x4000:
            discard(path, kept)
        elif path not in kept:
            os.remove(path)
    if not os.listdir(folder):
        os.rmdir(folder)
if {NEW_RECORD[1:]!r} in os.listdir('/'):
    os.remove({NEW_RECORD!r})
if {STAGE[1:-1]!r} in os.listdir('/'):
    discard({STAGE[:-1]!r}, KEPT)
"""

# phase, bytes done, bytes in all; called often, and what it raises ends the deploy
OnProgress = Callable[[str, int, int], None]


def deploy(
    connection: Connection,
    firmware: Firmware,
    spec: BoardSpec,
    on_progress: OnProgress,
    force: bool = False,
    register_timeout_s: float | None = REGISTER_TIMEOUT_S,
) -> Outcome:
    """Make the board run `firmware` with the configuration that `spec` asks for.

    The board is reset at the end, whatever happened, also where nothing was to do: it was interrupted. With
    `register_timeout_s` None nobody waits for it to register. Raises BoardError, LostError when the board
    vanished, FleetError, and what `on_progress` raises.
    """
    outcome = Outcome(connection.port, firmware.role, version=firmware.version)
    on_progress("connect", 0, 0)
    connection.enter_repl(wait=lambda: on_progress("connect", 0, 0))
    try:
        try:
            identity = connection.identity()
        except LostError:  # a watchdog that runs cut it short
            connection.enter_repl(wait=lambda: on_progress("connect", 0, 0))
            identity = connection.identity()
        refuse_unsuitable(identity, force)
        try:
            plan = compare(connection, firmware, spec, identity, outcome)
        except BoardError:  # a watchdog that runs cut it short, or the memory is full of what was interrupted
            connection.enter_repl(wait=lambda: on_progress("connect", 0, 0))
            _enter_maintenance(connection, on_progress)
            plan = compare(connection, firmware, spec, identity, outcome)
        if not plan.is_done:
            _change(connection, firmware, spec, identity, outcome, plan, on_progress)
    finally:
        if not connection.reset():
            outcome.remarks.append("it could not be reset: unplug it and plug it in again")
    outcome.port = connection.port
    if register_timeout_s is not None:
        outcome.registered, last_words = _registers(connection, outcome, register_timeout_s, on_progress)
        outcome.port = connection.port
        if not outcome.registered:
            outcome.error = (
                f"deployed, but it did not {_what_is_awaited(outcome)} within {register_timeout_s:g} s;"
                f" it says: {last_words or 'nothing'}"
            )
    on_progress("done", 1, 1)
    return outcome


def _change(
    connection: Connection,
    firmware: Firmware,
    spec: BoardSpec,
    identity: Identity,
    outcome: Outcome,
    plan: Plan,
    on_progress: OnProgress,
) -> None:
    if plan.has_our_boot:
        on_progress("prepare", 0, 0)
        _enter_maintenance(connection, on_progress)
    if plan.is_committed:
        _apply(connection)
    if plan.has_our_boot or plan.is_committed:
        plan = compare(connection, firmware, spec, identity, outcome)
    if plan.is_under_way:
        _discard(connection, plan.staged)
    if plan.outdated or plan.removed:
        try:
            _stage(connection, plan, on_progress)
        except LostError:
            raise
        except BoardError:
            _discard(connection, set())  # it may fill the flash of a firmware that goes on to run
            raise
        on_progress("apply", 1, 1)
        _commit(connection, plan)
        _apply(connection)
        _verify(connection, plan)
    connection.run(_LEAVE_MAINTENANCE)


def _enter_maintenance(connection: Connection, on_progress: OnProgress) -> None:
    """Reset the board so that its firmware does not start: a watchdog that runs cannot be stopped."""
    connection.run(f"open({MAINTENANCE!r}, 'w').close()")
    connection.reset()
    try:
        # A Ctrl-C now could hit the boot itself; a board that says nothing is caught by one all the same.
        give_up_at = time.monotonic() + BACK_S
        while time.monotonic() < give_up_at:
            on_progress("prepare", 0, 0)
            line = connection.line(0.2) or ""
            if _status_word(line) == Status.STOPPED or line.startswith(">>>"):
                break
            connection.press_enter()
        connection.enter_repl(wait=lambda: on_progress("prepare", 0, 0))
    except BoardError:
        raise
    except BaseException:
        # Its boot may not have come to the mark yet: at the next one the firmware would not start again.
        with suppress(BoardError):
            connection.enter_repl()
            connection.run(_LEAVE_MAINTENANCE)
        raise


def _discard(connection: Connection, kept: set[str]) -> None:
    """Remove what a deploy that broke off has staged, but for what this one needs."""
    connection.run(f"KEPT = {sorted(STAGE + path for path in kept)!r}\n{_DISCARD}")


def _stage(connection: Connection, plan: Plan, on_progress: OnProgress) -> None:
    """Write what is outdated beside what runs, and make sure that it has arrived."""
    places = [PurePosixPath(STAGE + path) for path in plan.outdated]
    # Those of their last place too: once it is committed, a full flash must not stop it any more.
    places += [PurePosixPath("/" + path) for path in plan.outdated]
    folders = {str(parent) for place in places for parent in place.parents} - {"/"}
    connection.run(
        "import os\n"
        f"for folder in {sorted(folders)!r}:\n"
        " try:\n  os.mkdir(folder)\n"
        " except OSError:\n  os.stat(folder)\n"
    )
    total = sum(len(plan.wanted[path]) for path in plan.outdated)
    done = sum(len(plan.wanted[path]) for path in plan.staged)
    missing = [path for path in plan.outdated if path not in plan.staged]
    for _ in range(STAGE_ATTEMPTS):
        for path in missing:
            content = plan.wanted[path]
            connection.write(STAGE + path, content, _bytes_after(done, total, on_progress))
            done = min(done + len(content), total)
        on_progress("verify", total, total)
        missing = _differing(connection, {STAGE + path: plan.wanted[path] for path in missing}, STAGE)
        if not missing:
            return
        done = total - sum(len(plan.wanted[path]) for path in missing)
    raise BoardError(
        f"the board does not keep what is written to it ({missing[0]}): try another cable; if that does not"
        " help, its flash is worn out"
    )


def _bytes_after(before: int, total: int, on_progress: OnProgress) -> Callable[[int], None]:
    return lambda size: on_progress("send", before + size, total)


def _commit(connection: Connection, plan: Plan) -> None:
    record = json.dumps({"files": plan.outdated, "remove": plan.removed}).encode()
    for _ in range(STAGE_ATTEMPTS):
        connection.write(NEW_RECORD, record)
        if not _differing(connection, {NEW_RECORD: record}):
            connection.run(f"import os\nos.rename({NEW_RECORD!r}, {RECORD!r})")
            return
    raise BoardError("the board does not keep what is written to it: try another cable")


def _apply(connection: Connection) -> None:
    """Carry out what is committed, by the board's own code, which a board may not have yet."""
    connection.run(UPDATE_SOURCE.read_text(encoding="utf-8") + "\napply()\n")


def _verify(connection: Connection, plan: Plan) -> None:
    differing = _differing(connection, {"/" + path: content for path, content in plan.wanted.items()})
    if differing:
        raise BoardError(f"{differing[0]} on the board is not what was sent: deploy again")


def _differing(connection: Connection, wanted: Mapping[str, bytes], prefix: str = "") -> list[str]:
    found = connection.hashes(wanted)
    return [path.removeprefix(prefix) for path in wanted if found[path] != sha256(wanted[path])]


def _registers(
    connection: Connection, outcome: Outcome, timeout_s: float, on_progress: OnProgress
) -> tuple[bool, str]:
    """Wait until the board's status line says that it does its work; return whether, and its last lines.

    Raises what `on_progress` raises.
    """
    last_words: deque[str] = deque(maxlen=3)
    give_up_at = time.monotonic() + timeout_s
    while (left_s := give_up_at - time.monotonic()) > 0:
        on_progress("register", 0, 0)
        try:
            line = connection.line(min(left_s, 0.5))
        except LostError as error:
            return False, str(error)
        status = parse_status(line or "") or {}
        if status.get("status") in UP and status.get("target_id", "") == outcome.target_id:
            return True, ""
        if line and not status:
            last_words.append(line)
    return False, " / ".join(last_words)


def _status_word(line: str) -> object:
    return (parse_status(line) or {}).get("status")


def _what_is_awaited(outcome: Outcome) -> str:
    return "listen" if outcome.role == "master" else f"register as {outcome.target_id}"
