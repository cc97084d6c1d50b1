"""`snyper keys`: the keys of this user, which `client/key_store.py` keeps."""

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from snyper.cli.commands import Json
from snyper.cli.help_page import App
from snyper.cli.output import err, fail, out
from snyper.client import key_store
from snyper.client.environment import FILE_VARIABLE, FLEET_KEY, KEY_VARIABLE, key_text, secret
from snyper.client.key_store import KeyStoreError, new_key
from snyper.shared.keys import Key, Rights
from snyper.shared.socket_protocol import ALL_TARGETS
from snyper.system.files import shown, write_private
from snyper.system.process import EXIT_FAILED, EXIT_INTERRUPTED
from snyper.system.streams import print_json

MIN_SECRET_CHARS = 8

keys = App(
    help="Make, list and revoke the keys that let somebody in.", no_args_is_help=True, rich_markup_mode=None
)


class RightsWord(StrEnum):
    """The rights of a key."""

    FLEET = Rights.FLEET
    DEVICE = Rights.DEVICE
    CONSOLE = Rights.CONSOLE
    READER = Rights.READER


Name = Annotated[str, typer.Argument(metavar="NAME", help="A key's name; that of a device is the device's.")]


@keys.command()
def new(
    asked: Annotated[
        bool, typer.Option("--secret", help="Make it of a secret that is asked for, or read from stdin.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Instead of the one that there is: boards need a deploy then."),
    ] = False,
) -> None:
    """Make the key of the fleet, of random bytes or, where SNYPER_KEY is set, the one that it says."""
    with _told():
        given = _asked_secret() if asked else secret(KEY_VARIABLE)
        if (asked or given) and len(given or "") < MIN_SECRET_CHARS:
            raise KeyStoreError(f"a secret has {MIN_SECRET_CHARS} characters or more: choose a longer one")
        key = Key(key_text(given)) if given else new_key(FLEET_KEY)
        with key_store.changing() as store:
            if store.find(key.name) is not None:
                if not replace:
                    raise KeyStoreError(
                        f"there is a key {key.name} already: `snyper keys new --replace` makes another "
                        "instead, and all boards that have it need a deploy then"
                    )
                store.revoke(key.name)
            store.add(key, Rights.FLEET)
    err.print(f"keys: {key.name} is in {shown(store.path)}, which only you can read", markup=False)
    err.print("`snyper deploy` gives it to boards; hub and commands on this computer find it there")
    _warn_of_variables()


@keys.command()
def add(
    name: Name,
    rights: Annotated[
        RightsWord,
        typer.Option(
            help="fleet: anybody, device: the target or service NAME, console: commands, reader: only reads."
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it into a new file too, to hand it over.")
    ] = None,
) -> None:
    """Make one more key, with rights of its own."""
    with _told():
        key = new_key(name)
        if rights == RightsWord.DEVICE and name == ALL_TARGETS:
            raise KeyStoreError(f"no device is called {ALL_TARGETS}: choose another name")
        if output is not None and output.exists():
            raise KeyStoreError(f"{shown(output)} is there already: name a new file")
        with ExitStack() as stack:
            with key_store.changing() as store:
                store.add(key, rights)
                if output is not None:
                    _write(key, output)
                    stack.callback(output.unlink)
            stack.pop_all()  # it is kept, and may be handed over
    err.print(f"keys: {name}, {rights}, is in {shown(store.path)}", markup=False)
    if output is not None:
        err.print(
            f"and in {shown(output)}, which only you can read: {FILE_VARIABLE} names it to whoever gets it",
            markup=False,
        )
    _warn_of_variables()


@keys.command(name="list")
def list_keys(as_json: Json = False) -> None:
    """List the keys and what each may do, never what they are."""
    with _told():
        store = key_store.load()
    used = store.client_key()
    if as_json:
        print_json(
            [
                {"name": stored.name, "rights": stored.rights, "is_used_here": stored.key is used}
                for stored in store.keys
            ]
        )
        return
    if not store.keys:
        err.print(f"no key in {shown(store.path)} yet: `snyper keys new` makes one", markup=False)
        return
    table = Table("key", "rights", "", box=None, pad_edge=False)
    for stored in store.keys:
        table.add_row(stored.name, stored.rights, "used here" if stored.key is used else "")
    out.print(table)
    err.print(f"in {shown(store.path)}", markup=False)
    _warn_of_variables()


@keys.command()
def revoke(name: Name) -> None:
    """Revoke a key: a hub on this computer cuts whoever has proven it."""
    with _told(), key_store.changing() as store:
        store.revoke(name)
    err.print(f"keys: {name} is revoked", markup=False)
    err.print("a hub on this computer knows within a second, a hub board after its next deploy")
    if not store.keys:
        err.print("no key is left: a running hub lets nobody in until `snyper keys new` has made one")
    _warn_of_variables()


def _asked_secret() -> str:
    """Ask for a secret without showing it, or read it from a stdin that is no terminal. Raises
    KeyStoreError.
    """
    if sys.stdin.isatty():
        text = getpass.getpass("secret: ", sys.stderr)
        if getpass.getpass("again: ", sys.stderr) != text:
            raise KeyStoreError("those are two: try again")
    else:
        try:
            text = sys.stdin.readline().removeprefix("\ufeff").rstrip("\r\n")
            text.encode()
        except UnicodeError:
            raise KeyStoreError("that is not UTF-8: give it in that encoding") from None
    return text


def _write(key: Key, path: Path) -> None:
    try:
        write_private(path, key.to_text().encode() + b"\n")
    except OSError as error:
        raise KeyStoreError(
            f"{shown(path)} cannot be written ({error.strerror}): name another file"
        ) from None


def _warn_of_variables() -> None:
    """Say when hub and commands look elsewhere for their key."""
    for name in (KEY_VARIABLE, FILE_VARIABLE):
        if name in os.environ:
            err.print(f"{name} is set: hub and commands take their key from there, until it is unset")
            return


@contextmanager
def _told() -> Iterator[None]:
    """End the command with a line for what goes wrong."""
    try:
        yield
    except ValueError as error:
        fail(str(error), EXIT_FAILED)
    except KeyboardInterrupt:
        err.print("\nstopped: nothing has changed")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except EOFError:
        fail("no secret was given, and nothing has changed", EXIT_FAILED)
