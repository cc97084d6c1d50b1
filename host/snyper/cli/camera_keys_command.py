"""`snyper cameras add-key`, `revoke-key` and `keys`: what others may do with the cameras of a folder."""

import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from snyper.cameras.grants import (
    EVERY,
    FILE,
    GROUPS,
    OWN,
    SCOPES,
    Grant,
    KeysFile,
    keys_text,
    parsed_scopes,
    read_keys,
)
from snyper.cli.commands import Json
from snyper.cli.help_page import App
from snyper.cli.output import err, fail, out
from snyper.shared.socket_protocol import is_target_id
from snyper.system.files import PRIVATE, lock, shown, write_private
from snyper.system.process import EXIT_FAILED, EXIT_USAGE
from snyper.system.streams import print_json
from snyper.system.text import one_line

_LOCK = "keys.lock"
_TAKEN = (OWN, GROUPS)
_SECRET_BYTES = 32

Folder = Annotated[
    Path, typer.Argument(metavar="FOLDER", help="That of `--cameras`.", file_okay=False, exists=True)
]
KeyName = Annotated[str, typer.Argument(metavar="NAME", help="What the log calls whoever has the key.")]
May = Annotated[
    list[str],
    typer.Option(
        "--may",
        metavar="SCOPE[=CAMERA]",
        help=f"What it may do, of {', '.join(SCOPES)}: with every camera, with CAMERA, with those that"
        " begin so (`gate/*`), or with a group of keys.toml (`@yard`). May be repeated.",
    ),
]


def add_to(cameras: App) -> None:
    """Add the commands."""
    cameras.command("add-key")(add_key)
    cameras.command("revoke-key")(revoke_key)
    cameras.command("keys")(list_keys)


def add_key(
    folder: Folder,
    name: KeyName,
    may: May,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the key into a new file, not to stdout.")
    ] = None,
) -> None:
    """Make a key that may do some things with the cameras of a gateway, and print it: nobody can look it up
    again. A running gateway that asks for a key takes it within a second, another at its next start.
    """
    if not is_target_id(name) or name in _TAKEN:
        fail(f"{one_line(name)} cannot be the name of a key: take another, such as viewer", EXIT_USAGE)
    try:
        scopes = parsed_scopes(may)
    except ValueError as error:
        fail(f"--may: {one_line(str(error))}", EXIT_USAGE)
    key = secrets.token_urlsafe(_SECRET_BYTES)
    with _changing(folder) as file:
        if name in file.grants and file.grants[name].digest:
            fail(f"there is a key {name} already: `snyper cameras revoke-key` takes it back", EXIT_FAILED)
        try:
            for cameras in scopes.values():
                file.cameras_of(cameras)
        except ValueError as error:
            fail(one_line(f"--may: {error} in {shown(folder / FILE)}"), EXIT_FAILED)
        if output is not None:
            if output.exists():
                fail(f"{shown(output)} is there already: name a new file", EXIT_FAILED)
            write_private(output, key.encode() + b"\n")
        file.grants[name] = Grant(scopes, hashlib.sha256(key.encode()).hexdigest())
    if output is None:
        print(key)
    err.print(f"{name} may {_words(scopes)}", markup=False, highlight=False)


def revoke_key(folder: Folder, name: KeyName) -> None:
    """Revoke a key, and what was granted to that name: a running gateway cuts who has it within a second."""
    with _changing(folder) as file:
        if file.grants.pop(name, None) is None:
            fail(one_line(f"there is no key {name} in {shown(folder / FILE)}"), EXIT_FAILED)
    err.print(f"{one_line(name)} is revoked", markup=False, highlight=False)


def list_keys(folder: Folder, as_json: Json = False) -> None:
    """List the keys and what each may do, never what they are."""
    grants = _read(folder).grants
    if as_json:
        print_json([{"name": name, **grant.scopes} for name, grant in grants.items()])
        return
    if not grants:
        err.print(f"no key in {shown(folder / FILE)} yet", markup=False)
        return
    table = Table("key", "may", box=None, pad_edge=False)
    for name, grant in grants.items():
        table.add_row(Text(one_line(name)), Text(one_line(_words(grant.scopes))))
    out.print(table)


def _words(scopes: Mapping[str, Sequence[str]]) -> str:
    return ", ".join(
        scope if EVERY in cameras else f"{scope} {' '.join(cameras)}" for scope, cameras in scopes.items()
    )


@contextmanager
def _changing(folder: Path) -> Iterator[KeysFile]:
    """Let a block change the keys of a folder, one process at a time; end the command where they cannot
    be read or written.
    """
    try:
        number = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, PRIVATE)
        try:
            lock(number, waits=True)
            file = _read(folder)
            yield file
            write_private(folder / FILE, keys_text(file).encode())
        finally:
            os.close(number)
    except OSError as error:
        fail(one_line(f"{shown(folder / FILE)} cannot be changed: {error}"), EXIT_FAILED)


def _read(folder: Path) -> KeysFile:
    try:
        return read_keys((folder / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return KeysFile()
    except (OSError, ValueError) as error:
        fail(one_line(f"{shown(folder / FILE)}: {error}"), EXIT_FAILED)
