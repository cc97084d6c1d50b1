"""Brings one board to what it is to be: stage, commit, apply, verify.

A cable pulled at any moment leaves the old firmware or the new one, or a board that the next deploy mends:
everything is written beside what runs, one rename decides, and what comes after that rename
(`firmware/board/update.py`) is taken up again at each boot until it is done.
"""

import json
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from snyper.boards import image
from snyper.boards.fleet import Wish, check, configuration
from snyper.boards.status import UP, parse_status
from snyper.boards.usb import BoardError, Connection, Identity, LostError, sha256
from snyper.firmware.board.status import Status
from snyper.firmware.board.version import VERSION
from snyper.shared.config import ConfigError, parse

MIN_MICROPYTHON = (1, 24)
REGISTER_TIMEOUT_S = 60.0
STAGE_ATTEMPTS = 3  # of writing what does not arrive whole
BACK_S = 4.0  # for a board to say by itself that it is back, before it is interrupted again

CONFIG = "config.json"
GOOD_CONFIG = "config.good.json"
MANIFEST = "snyper.json"
MAINTENANCE = "/maintenance"
RECORD = "/snyper.update.json"
NEW_RECORD = "/snyper.update.json.new"
STAGE = "/snyper.update/"
UPDATE_SOURCE = image.PACKAGE / "firmware" / "board" / "update.py"
_SUFFIXES = {".py": ".mpy", ".mpy": ".py"}
_FORMER_LIBRARY = ""  # before LIBRARY a board had the modules in its root
_BOOTS = [f"firmware/board/boot{suffix}" for suffix in _SUFFIXES]


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
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Firmware:
    """What is shipped: every file but the configuration, from its path on the board to its bytes."""

    role: str
    version: str
    files: Mapping[str, bytes]

    @classmethod
    def of_checkout(cls, role: str, source: bool = False) -> "Firmware":
        """This checkout's. Raises OSError when it does not compile."""
        return cls(role, VERSION, image.contents(role, source))


@dataclass
class Outcome:
    """What became of one board. `registered` is None where nobody waited, `error` empty when all is well."""

    port: str
    role: str = ""
    target_id: str = ""
    version: str = ""
    sent: int = 0
    unchanged: int = 0
    removed: int = 0
    config: str = "unchanged"
    registered: bool | None = None
    error: str = ""
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Plan:
    """What a board has, against what it is to have."""

    wanted: Mapping[str, bytes]  # firmware, manifest, configuration
    outdated: list[
        str
    ]  # paths of `wanted` that are to be sent, in the order in which they are put into place
    staged: set[str]  # of these, the ones that are on the board already, beside what runs
    removed: list[str]
    is_under_way: bool  # a deploy broke off: something is staged, or committed
    is_committed: bool
    has_our_boot: bool
    has_mark: bool

    @property
    def is_done(self) -> bool:
        return not (self.outdated or self.removed or self.is_under_way or self.has_mark)


def deploy(
    connection: Connection,
    firmware: Firmware,
    wish: Wish,
    report: Report,
    force: bool = False,
    register_timeout_s: float | None = REGISTER_TIMEOUT_S,
) -> Outcome:
    """Makes the board run `firmware` with the configuration that `wish` asks for.

    The board is reset at the end, whatever happened, also where nothing was to do: it was interrupted. With
    `register_timeout_s` None nobody waits for it to register. Raises BoardError, LostError when the board
    vanished, FleetError, and what `report` raises.
    """
    outcome = Outcome(connection.port, firmware.role, version=firmware.version)
    report("connect", 0, 0)
    connection.enter_repl(wait=lambda: report("connect", 0, 0))
    try:
        identity = connection.identity()
        refuse_unsuitable(identity, force)
        try:
            plan = _look(connection, firmware, wish, identity, outcome)
        except BoardError:  # a watchdog that runs cut it short, or the memory is full of what was interrupted
            connection.enter_repl(wait=lambda: report("connect", 0, 0))
            _enter_maintenance(connection, report)
            plan = _look(connection, firmware, wish, identity, outcome)
        if not plan.is_done:
            _change(connection, firmware, wish, identity, outcome, plan, report)
    finally:
        if not connection.reset():
            outcome.remarks.append("it could not be reset: unplug it and plug it in again")
    outcome.port = connection.port
    if register_timeout_s is not None:
        outcome.registered, last_words = _registers(connection, outcome, register_timeout_s, report)
        outcome.port = connection.port
        if not outcome.registered:
            outcome.error = (
                f"deployed, but it did not {_what_is_awaited(outcome)} within {register_timeout_s:g} s;"
                f" it says: {last_words or 'nothing'}"
            )
    report("done", 1, 1)
    return outcome


def refuse_unsuitable(identity: Identity, force: bool) -> None:
    """Raises BoardError for a board that does not run this firmware; `force` allows other ports."""
    if identity.version < MIN_MICROPYTHON:
        raise BoardError(
            f"it runs MicroPython {dotted(identity.version)}, and {dotted(MIN_MICROPYTHON)} or later is"
            " needed: hold BOOTSEL while you plug it in, copy your board's .uf2 from micropython.org onto it"
        )
    if force:
        return
    if identity.platform != "rp2":
        raise BoardError(f"it is no Pico W but a {identity.name}: --force deploys to it anyway")
    if not identity.has_wifi:
        raise BoardError(
            f"its MicroPython has no Wi-Fi ({identity.name}): is it a Pico W? Then install MicroPython for"
            " the Pico W, not for the Pico; --force deploys to it anyway"
        )


@dataclass(frozen=True)
class Description:
    """What runs on a board. `role` and what follows are empty where nothing of ours does."""

    identity: Identity
    role: str
    version: str
    target_id: str
    config: bytes | None


def describe(connection: Connection) -> Description:
    """Looks at a board whose prompt is taken. Raises BoardError."""
    role = version = target_id = ""
    with suppress(ValueError, TypeError, KeyError):
        manifest = json.loads(connection.read("/" + MANIFEST) or b"")
        role, version = str(manifest["role"]), str(manifest["version"])
    if not role:  # installed some other way
        places = {
            name: [
                f"/{library}firmware/{name}/config{suffix}"
                for library in (image.LIBRARY, _FORMER_LIBRARY)
                for suffix in _SUFFIXES
            ]
            for name in image.ROLES
        }
        found = connection.hashes(path for paths in places.values() for path in paths)
        role = next((name for name, paths in places.items() if any(found[path] for path in paths)), "")
    config = connection.read("/" + CONFIG)
    if role == "target":
        with suppress(ValueError):
            target_id = check(role, config or b"{}")["target_id"]
    return Description(connection.identity(), role, version, target_id, config)


def dotted(version: tuple[int, ...]) -> str:
    """A version as people write it."""
    return ".".join(str(part) for part in version)


def _look(
    connection: Connection, firmware: Firmware, wish: Wish, identity: Identity, outcome: Outcome
) -> _Plan:
    """Compares the board with what it is to be, and changes nothing."""
    stored, remarks = _stored(connection)
    content, config, more = configuration(wish, stored, identity.platform)
    outcome.remarks = remarks + more
    outcome.target_id = config.get("target_id", "")
    manifest = image.manifest(firmware.role, firmware.files, firmware.version)
    wanted = {**firmware.files, MANIFEST: manifest, CONFIG: content}
    former = {path.removeprefix(image.LIBRARY) for path in firmware.files if path.startswith(image.LIBRARY)}
    former |= {_shadow_of(path) for path in former}
    ours = _files_of(connection.read("/" + MANIFEST)) - set(wanted)
    ours |= {shadow for path in firmware.files if (shadow := _shadow_of(path)) not in wanted}
    boots = [library + path for library in (image.LIBRARY, _FORMER_LIBRARY) for path in _BOOTS]
    paths = [*wanted, *sorted(ours | former), *(STAGE[1:] + path for path in wanted), *boots]
    found = {path[1:]: digest for path, digest in connection.hashes("/" + path for path in paths).items()}
    names = set(connection.ask("import os, json\nprint(json.dumps(os.listdir('/')))"))
    if any(found[path] is not None for path in _BOOTS):
        ours |= former  # without our boot beside them, files of these names are somebody else's
    outdated = [path for path in _in_order(wanted) if found[path] != sha256(wanted[path])]
    removed = sorted(path for path in ours if found[path] is not None)
    shipped = [path for path in firmware.files if path in outdated]
    # Of a deploy that is taken up again, these are the sum of both parts.
    outcome.sent, outcome.removed = len(shipped), len(removed)
    outcome.unchanged = len(firmware.files) - len(shipped)
    outcome.config = "written" if CONFIG in outdated else "unchanged"
    return _Plan(
        wanted,
        outdated,
        {path for path in outdated if found[STAGE[1:] + path] == sha256(wanted[path])},
        removed,
        bool(names & {STAGE[1:-1], RECORD[1:], NEW_RECORD[1:]}),
        RECORD[1:] in names,
        any(found[path] is not None for path in boots),
        MAINTENANCE[1:] in names,
    )


def _stored(connection: Connection) -> tuple[bytes | None, list[str]]:
    """The board's configuration, and remarks: where it cannot be read at all, the last good one."""
    stored = connection.read("/" + CONFIG)
    try:
        parse(stored or b"{}")
        return stored, []
    except ConfigError as error:
        good = connection.read("/" + GOOD_CONFIG)
        if good is None:
            return stored, []
        return good, [f"its config.json cannot be read ({error}): the last good one takes its place"]


def _in_order(wanted: Mapping[str, bytes]) -> list[str]:
    """The order in which files are put into place: first what a boot needs to go on with it after a power
    cut, the configuration last.

    Until `main.py` is in place, what goes on is the update that the old one imports: it is old where it lies
    elsewhere, and the next thing it does is to put `main.py` there.
    """
    ranks = {f"{image.LIBRARY}firmware/board/update": 0, "main": 1, "snyper": 3, "config": 4}
    return sorted(wanted, key=lambda path: (ranks.get(str(PurePosixPath(path).with_suffix("")), 2), path))


def _files_of(manifest: bytes | None) -> set[str]:
    """What an earlier deploy put onto the board; nothing where that is not known."""
    try:
        files = json.loads(manifest or b"")["files"]
        return {path for path in files if isinstance(path, str) and path and ".." not in path}
    except (ValueError, TypeError, KeyError):
        return set()


def _shadow_of(path: str) -> str:
    """The same module in its other form: MicroPython imports the source where there are both."""
    posix = PurePosixPath(path)
    return str(posix.with_suffix(_SUFFIXES[posix.suffix]))


def _change(
    connection: Connection,
    firmware: Firmware,
    wish: Wish,
    identity: Identity,
    outcome: Outcome,
    plan: _Plan,
    report: Report,
) -> None:
    if plan.has_our_boot:
        report("prepare", 0, 0)
        _enter_maintenance(connection, report)
    if plan.is_committed:
        _apply(connection)
    if plan.has_our_boot or plan.is_committed:
        plan = _look(connection, firmware, wish, identity, outcome)
    if plan.is_under_way:
        _discard(connection, plan.staged)
    if plan.outdated or plan.removed:
        try:
            _stage(connection, plan, report)
        except LostError:
            raise
        except BoardError:
            _discard(connection, set())  # it may fill the flash of a firmware that goes on to run
            raise
        report("apply", 1, 1)
        _commit(connection, plan)
        _apply(connection)
        _verify(connection, plan)
    connection.run(f"import os\nif {MAINTENANCE[1:]!r} in os.listdir('/'): os.remove({MAINTENANCE!r})")


def _enter_maintenance(connection: Connection, report: Report) -> None:
    """Resets the board so that its firmware does not start: a watchdog that runs cannot be stopped."""
    connection.run(f"open({MAINTENANCE!r}, 'w').close()")
    connection.reset()
    # A Ctrl-C now could hit the boot itself; a board that says nothing is caught by one all the same.
    give_up_at = time.monotonic() + BACK_S
    while time.monotonic() < give_up_at:
        report("prepare", 0, 0)
        line = connection.line(0.2) or ""
        if _status_word(line) == Status.STOPPED or line.startswith(">>>"):
            break
        connection.press_enter()
    connection.enter_repl(wait=lambda: report("prepare", 0, 0))


def _discard(connection: Connection, kept: set[str]) -> None:
    """Removes what a deploy that broke off has staged, but for what this one needs."""
    connection.run(f"KEPT = {sorted(STAGE + path for path in kept)!r}\n{_DISCARD}")


def _stage(connection: Connection, plan: _Plan, report: Report) -> None:
    """Writes what is outdated beside what runs, and makes sure that it has arrived."""
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
            connection.write(STAGE + path, content, _bytes_after(done, total, report))
            done = min(done + len(content), total)
        report("verify", total, total)
        missing = _differing(connection, {STAGE + path: plan.wanted[path] for path in missing}, STAGE)
        if not missing:
            return
        done = total - sum(len(plan.wanted[path]) for path in missing)
    raise BoardError(
        f"the board does not keep what is written to it ({missing[0]}): try another cable; if that does not"
        " help, its flash is worn out"
    )


def _bytes_after(before: int, total: int, report: Report) -> Callable[[int], None]:
    return lambda size: report("send", before + size, total)


def _commit(connection: Connection, plan: _Plan) -> None:
    record = json.dumps({"files": plan.outdated, "remove": plan.removed}).encode()
    for _ in range(STAGE_ATTEMPTS):
        connection.write(NEW_RECORD, record)
        if not _differing(connection, {NEW_RECORD: record}):
            connection.run(f"import os\nos.rename({NEW_RECORD!r}, {RECORD!r})")
            return
    raise BoardError("the board does not keep what is written to it: try another cable")


def _apply(connection: Connection) -> None:
    """Carries out what is committed, by the board's own code, which a board may not have yet."""
    connection.run(UPDATE_SOURCE.read_text(encoding="utf-8") + "\napply()\n")


def _verify(connection: Connection, plan: _Plan) -> None:
    differing = _differing(connection, {"/" + path: content for path, content in plan.wanted.items()})
    if differing:
        raise BoardError(f"{differing[0]} on the board is not what was sent: deploy again")


def _differing(connection: Connection, wanted: Mapping[str, bytes], prefix: str = "") -> list[str]:
    found = connection.hashes(wanted)
    return [path.removeprefix(prefix) for path in wanted if found[path] != sha256(wanted[path])]


def _registers(
    connection: Connection, outcome: Outcome, timeout_s: float, report: Report
) -> tuple[bool, str]:
    """Wait until the board's status line says that it does its work; return whether, and its last lines.

    Raises what `report` raises.
    """
    last_words: deque[str] = deque(maxlen=3)
    give_up_at = time.monotonic() + timeout_s
    while (left_s := give_up_at - time.monotonic()) > 0:
        report("register", 0, 0)
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
