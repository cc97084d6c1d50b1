"""Files that `snyper call` sends, and those that it gets: whole or not at all, and over no other file."""

import os
import secrets
from pathlib import Path
from typing import Any

import typer

from snyper.cli.output import fail
from snyper.device.inbox.names import candidates, safe_name
from snyper.device.placing import place
from snyper.services.wire import MAX_BODY_BYTES
from snyper.system.process import EXIT_FAILED, EXIT_USAGE

FILENAME = "filename"  # what a service of files calls the name of one


def file_named(text: str) -> Path:
    """Return the file that @FILE names. Raises BadParameter, which says how to give a text that begins so."""
    path = Path(text[1:]).expanduser()
    if not path.is_file():
        raise typer.BadParameter(f"{text[1:]} is no file; a text that begins with @ is '\"{text}\"'")
    return path


def content_of(value: object) -> object:
    """Return what a file holds, any other value as it is. Ends the command for one that cannot be sent."""
    if not isinstance(value, Path):
        return value
    try:
        size = value.stat().st_size
        if size > MAX_BODY_BYTES:
            fail(
                f"{value} has {size:,} bytes, and a call takes {MAX_BODY_BYTES:,}: over HTTP a service may"
                f" take more, with snyper send {value} --to URL",
                EXIT_USAGE,
            )
        return value.read_bytes()
    except OSError as error:
        fail(f"{value}: {error.strerror}", EXIT_FAILED)


def filename_for(described: Any, name: str, file: Path, given: dict[str, object]) -> dict[str, object]:
    """Return a file's name as the argument for it, if what is called takes that and is not given one."""
    signatures = [one["signature"] or "" for one in described if one["name"].lower() == name.lower()]
    takes_one = any(f"{FILENAME}=" in text for text in signatures)
    return {FILENAME: file.name} if takes_one and FILENAME not in given else {}


def check_free(out: Path) -> None:
    """End the command where a result cannot get this name, before anything is called for it."""
    if out.exists() or out.is_symlink():
        fail(f"{out} is there already, and stays: name another file with --out, or remove it", EXIT_USAGE)
    if not out.absolute().parent.is_dir():
        fail(f"there is no folder {out.parent} for {out.name}: make it first", EXIT_USAGE)


def save(content: bytes, out: Path | None, sent: list[Path]) -> Path | None:
    """Write what a call has returned to `out`, else beside, as processed_NAME, where one file was `sent`; in
    a numbered name if that is taken. Return where it is; None where it is to be shown. Ends the command where
    it cannot be written.
    """
    if out is not None:
        paths = iter([out])
    elif sent:
        paths = (Path(name) for name in candidates(safe_name(f"processed_{sent[0].name}")))
    else:
        return None
    for path in paths:
        try:
            _write(path, content)
        except FileExistsError:
            continue
        except OSError as error:
            fail(f"{path} cannot be written: {error.strerror}; call again with --out FILE", EXIT_FAILED)
        return path
    fail(f"{out} is there since a moment, and stays: call again with another --out", EXIT_FAILED)


def _write(path: Path, content: bytes) -> None:
    part = path.with_name(f".{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        place(part, path)
    finally:
        part.unlink(missing_ok=True)
