"""Plan what of a board a deploy has to change. Changes nothing itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from snyper.boards import image
from snyper.boards.board_files import (
    CONFIG,
    FORMER_LIBRARY,
    GOOD_CONFIG,
    MAINTENANCE,
    MANIFEST,
    NEW_RECORD,
    RECORD,
    STAGE,
    SUFFIXES,
)
from snyper.boards.fleet import BoardSpec, configuration
from snyper.boards.usb import Connection, Identity, sha256
from snyper.firmware.board.version import VERSION
from snyper.shared.config import ConfigError, parse

_BOOTS = [f"firmware/board/boot{suffix}" for suffix in SUFFIXES]


@dataclass(frozen=True)
class Firmware:
    """The files to deploy: every one but the configuration, from its path on the board to its bytes."""

    role: str
    version: str
    files: Mapping[str, bytes]

    @classmethod
    def of_checkout(cls, role: str, source: bool = False) -> "Firmware":
        """Build this checkout's firmware. Raises OSError when it does not compile."""
        return cls(role, VERSION, image.contents(role, source))


@dataclass
class Outcome:
    """The outcome of a deploy on one board. `registered` is None where nobody waited, `error` empty when all
    is well.
    """

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
class Plan:
    """The difference between what a board has and what it is to have."""

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


def compare(
    connection: Connection, firmware: Firmware, spec: BoardSpec, identity: Identity, outcome: Outcome
) -> Plan:
    """Compare the board with what it is to be, and change nothing on it; `outcome` gets what is found.

    Raises BoardError, and FleetError for a configuration that cannot be.
    """
    stored, remarks = _stored(connection)
    content, config, more = configuration(spec, stored, identity.platform)
    outcome.remarks = remarks + more
    outcome.target_id = config.get("target_id", "")
    manifest = image.manifest(firmware.role, firmware.files, firmware.version)
    wanted = {**firmware.files, MANIFEST: manifest, CONFIG: content}
    known = {*firmware.files, *image.files(firmware.role, source=True)}
    known |= {_shadow_of(path) for path in known}
    former = {path.removeprefix(image.LIBRARY) for path in known if path.startswith(image.LIBRARY)}
    ours = (_files_of(connection.read("/" + MANIFEST)) | known) - set(wanted)
    boots = [library + path for library in (image.LIBRARY, FORMER_LIBRARY) for path in _BOOTS]
    paths = [*wanted, *sorted(ours | former), *(STAGE[1:] + path for path in wanted), *boots]
    found = {path[1:]: digest for path, digest in connection.hashes("/" + path for path in paths).items()}
    names = connection.names()
    if any(found[path] is not None for path in _BOOTS):
        ours |= former  # without our boot beside them, files of these names are somebody else's
    outdated = [path for path in _in_order(wanted) if found[path] != sha256(wanted[path])]
    removed = sorted(path for path in ours if found[path] is not None)
    shipped = [path for path in firmware.files if path in outdated]
    # Of a deploy that is taken up again, these are the sum of both parts.
    outcome.sent, outcome.removed = len(shipped), len(removed)
    outcome.unchanged = len(firmware.files) - len(shipped)
    outcome.config = "written" if CONFIG in outdated else "unchanged"
    return Plan(
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
    """Read the board's configuration; return it and remarks: where it cannot be read at all, the last good
    one.
    """
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
    """Sort files as they are put into place: first what a boot needs to go on with it after a power
    cut, the configuration last.

    Until `main.py` is in place, what goes on is the update that the old one imports: it is old where it lies
    elsewhere, and the next thing it does is to put `main.py` there.
    """
    ranks = {f"{image.LIBRARY}firmware/board/update": 0, "main": 1, "snyper": 3, "config": 4}
    return sorted(wanted, key=lambda path: (ranks.get(str(PurePosixPath(path).with_suffix("")), 2), path))


def _files_of(manifest: bytes | None) -> set[str]:
    """Return what an earlier deploy put onto the board; nothing where that is not known."""
    try:
        files = json.loads(manifest or b"")["files"]
        return {path for path in files if isinstance(path, str) and path and ".." not in path}
    except (ValueError, TypeError, KeyError, RecursionError):
        return set()


def _shadow_of(path: str) -> str:
    """Return the same module in its other form: MicroPython imports the source where there are both."""
    posix = PurePosixPath(path)
    return str(posix.with_suffix(SUFFIXES[posix.suffix]))
