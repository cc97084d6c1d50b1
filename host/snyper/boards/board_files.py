"""The files that a deploy leaves on a board, and a description of what runs there."""

import json
from contextlib import suppress
from dataclasses import dataclass

from snyper.boards import image
from snyper.boards.fleet import check
from snyper.boards.ports import BoardError
from snyper.boards.usb import Connection, Identity, clipped

MIN_MICROPYTHON = (1, 24)
CONFIG = "config.json"
GOOD_CONFIG = "config.good.json"
MANIFEST = "snyper.json"
MAINTENANCE = "/maintenance"
RECORD = "/snyper.update.json"
NEW_RECORD = "/snyper.update.json.new"
STAGE = "/snyper.update/"
SUFFIXES = {".py": ".mpy", ".mpy": ".py"}
FORMER_LIBRARY = ""  # before LIBRARY a board had the modules in its root


@dataclass(frozen=True)
class Description:
    """A description of what runs on a board. `role` and what follows are empty where nothing of ours does."""

    identity: Identity
    role: str
    version: str
    target_id: str
    config: bytes | None


def describe(connection: Connection) -> Description:
    """Read what runs on a board whose prompt is taken. Raises BoardError."""
    role = version = target_id = ""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        manifest = json.loads(connection.read("/" + MANIFEST) or b"")
        role, version = clipped(str(manifest["role"])), clipped(str(manifest["version"]))
    if not role:  # installed some other way
        places = {
            name: [
                f"/{library}firmware/{name}/config{suffix}"
                for library in (image.LIBRARY, FORMER_LIBRARY)
                for suffix in SUFFIXES
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
    """Write a version as people do."""
    return ".".join(str(part) for part in version)


def refuse_unsuitable(identity: Identity, force: bool) -> None:
    """Raise BoardError for a board that does not run this firmware; `force` allows other ports."""
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
