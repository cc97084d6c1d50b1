"""The keys that this user has, and the hub board's Wi-Fi password, in one file of the user's configuration.

with key_store.changing() as store:
    store.add(new_key("kiosk"), Rights.READER)
"""

import errno
import json
import logging
import os
import secrets
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from snyper.shared.keys import KEY_BYTES, MAX_NAME_CHARS, Key, Rights
from snyper.system.files import locked, others_access, own_file, shown, write_private

PATH_VARIABLE = "SNYPER_KEYS"
FILE_NAME = "keys.toml"
MIN_PASSWORD_BYTES = 8  # of WPA2
MAX_PASSWORD_BYTES = 63
RIGHTS = (Rights.FLEET, Rights.DEVICE, Rights.READER, Rights.CONSOLE)

_HEAD = """\
# The keys of your SNYPER, and the Wi-Fi password of its hub board. Whoever reads this commands your targets.
# `snyper keys` and `snyper deploy` write it; comments of yours are not kept.
"""
_KEY_FIELDS = ("name", "rights", "secret")
_MAX_FILE_BYTES = 1 << 20  # some 8,000 keys

_MEND = "mend it, or move it away and begin anew with `snyper keys new`"

_warned: set[Path] = set()
_log = logging.getLogger("snyper")


class KeyStoreError(ValueError):
    """The keys cannot be read, kept or used: one line for a person, which says what to do and no secret."""


class NoHomeError(KeyStoreError):
    """There is no home directory, and so no file of keys."""


@dataclass(frozen=True)
class StoredKey:
    """A key, and what whoever proves it may do: one of `Rights`."""

    key: Key
    rights: str

    @property
    def name(self) -> str:
        """Return the key's name."""
        return self.key.name

    def to_line(self) -> str:
        """Return the key as a hub takes it: `NAME:HEX RIGHTS`. Whoever reads it has the key."""
        return f"{self.key.to_text()} {self.rights}"


class KeyStore:
    """The keys in the file `path`, in the order in which they were added."""

    def __init__(self, path: Path, keys: list[StoredKey], wifi_password: str = "") -> None:
        self.path = path
        self.keys = keys
        self._wifi_password = wifi_password

    def __repr__(self) -> str:
        return f"KeyStore({shown(self.path)!r}, {[stored.name for stored in self.keys]!r})"

    @property
    def wifi_password(self) -> str:
        """The password of the hub board's own Wi-Fi, empty where there is none yet. Setting one raises
        KeyStoreError when no Wi-Fi takes it.
        """
        return self._wifi_password

    @wifi_password.setter
    def wifi_password(self, password: str) -> None:
        if password and not MIN_PASSWORD_BYTES <= len(password.encode()) <= MAX_PASSWORD_BYTES:
            raise KeyStoreError(
                f"a Wi-Fi password has {MIN_PASSWORD_BYTES} to {MAX_PASSWORD_BYTES} bytes: choose another"
            )
        self._wifi_password = password

    def find(self, name: str) -> StoredKey | None:
        """Return the key of that name, None where there is none."""
        return next((stored for stored in self.keys if stored.name == name), None)

    def newest(self, *rights: str) -> Key | None:
        """Return the key that was added last of those with the first of `rights` that any has; None where
        none has one.
        """
        for word in rights:
            for stored in reversed(self.keys):
                if stored.rights == word:
                    return stored.key
        return None

    def fleet_key(self) -> Key | None:
        """Return the key that boards without one of their own get; None where there is none."""
        return self.newest(Rights.FLEET)

    def client_key(self) -> Key | None:
        """Return the key that what runs on this computer uses: the newest with the most rights; None where
        there is none but for devices.
        """
        return self.newest(Rights.FLEET, Rights.CONSOLE, Rights.READER)

    def add(self, key: Key, rights: str) -> None:
        """Add a key. Raises KeyStoreError for a name that is taken, and for rights that there are not."""
        if rights not in RIGHTS:
            raise KeyStoreError(f"there are no such rights: choose one of {', '.join(RIGHTS)}")
        if self.find(key.name) is not None:
            raise KeyStoreError(
                f"there is a key {key.name} already: choose another name, or revoke it with "
                f"`snyper keys revoke {key.name}`"
            )
        self.keys.append(StoredKey(key, rights))

    def revoke(self, name: str) -> None:
        """Remove a key. Raises KeyStoreError where there is none of that name."""
        stored = self.find(name)
        if stored is None:
            raise KeyStoreError(f"there is no key {name}: `snyper keys list` has those there are")
        self.keys.remove(stored)


def new_key(name: str) -> Key:
    """Make a key of random bytes. Raises KeyStoreError for what no key can be called."""
    try:
        return Key(f"{name}:{secrets.token_hex(KEY_BYTES)}")
    except ValueError:
        raise KeyStoreError(
            f"a key's name is 1 to {MAX_NAME_CHARS} of A-Z a-z 0-9 _ - . alone: choose another name"
        ) from None


def default_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the keys are: as SNYPER_KEYS says, else in the user's configuration. Raises NoHomeError
    for a user without a home directory.
    """
    if environment.get(PATH_VARIABLE):
        return Path(environment[PATH_VARIABLE])
    no_home = NoHomeError(f"there is no home directory to keep keys in: say where with {PATH_VARIABLE}=PATH")
    return own_file(user_config_path, FILE_NAME, no_home)


def load(path: Path | None = None) -> KeyStore:
    """Read the keys, none where there is no file, or no getting at one. It is logged when others may read it
    too. Raises KeyStoreError.
    """
    path = path or default_path()
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        warn_of_access(path)
    except OSError as error:
        # Path's own raises for a folder that may not be entered.
        if not os.path.exists(path) and error.errno != errno.ELOOP:  # noqa: PTH110
            return KeyStore(path, [])
        raise KeyStoreError(_unusable(path, "read", error)) from None
    if len(content) > _MAX_FILE_BYTES:
        raise KeyStoreError(f"{shown(path)} is longer than a file of keys can be: {_MEND}")
    try:
        return _parsed(path, tomllib.loads(content.decode("utf-8-sig")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):  # whose messages may quote a secret
        raise KeyStoreError(f"{shown(path)} is no TOML: {_MEND}") from None


@contextmanager
def changing(path: Path | None = None) -> Iterator[KeyStore]:
    """Read the keys, for a block that changes them, and keep what it leaves: all of it or, when it raises,
    nothing. Meanwhile nobody else changes them. Raises KeyStoreError.
    """
    path = path or default_path()
    with ExitStack() as stack:
        with _writing(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            stack.enter_context(locked(path.with_name(f".{path.name}.lock")))
        store = load(path)
        before = _encoded(store)
        yield store
        after = _encoded(store)
        if after != before:
            with _writing(path):
                write_private(path, after)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Have an OSError of the block say that the keys cannot be written."""
    try:
        yield
    except OSError as error:
        raise KeyStoreError(_unusable(path, "written", error)) from None


def warn_of_access(path: Path) -> None:
    """Log, once, when others than its owner can get at the file of a secret. Raises OSError."""
    if path not in _warned and others_access(path):
        _warned.add(path)
        name = shown(path)
        _log.warning("%s: others on this computer can read it. Keep it to yourself: chmod 600 %s", name, name)


def _parsed(path: Path, document: Mapping[str, Any]) -> KeyStore:
    """Read the tables of the file. Raises KeyStoreError."""
    tables = document.get("key", [])
    store = KeyStore(path, [])
    try:
        if not isinstance(tables, list) or not set(document) <= {"wifi_password", "key"}:
            raise ValueError("it consists of `wifi_password` and tables [[key]]")
        store.wifi_password = _text(document.get("wifi_password", ""))
        for table in tables:
            if not isinstance(table, dict) or set(table) != set(_KEY_FIELDS):
                raise ValueError(f"each [[key]] has {', '.join(_KEY_FIELDS)}")
            name, rights, secret = (_text(table[field]) for field in _KEY_FIELDS)
            store.add(Key(f"{name}:{secret}"), rights)
    except ValueError as error:
        why = str(error).partition(": ")[0]  # what to do is another thing here
        raise KeyStoreError(f"{shown(path)} is no file of keys ({why}): {_MEND}") from None
    return store


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("each field is a string")
    return value


def _encoded(store: KeyStore) -> bytes:
    lines = [_HEAD]
    if store.wifi_password:
        lines.append(f"wifi_password = {_quoted(store.wifi_password)}\n")
    for stored in store.keys:
        fields = zip(_KEY_FIELDS, (stored.name, stored.rights, stored.key.secret.hex()), strict=True)
        lines.append("[[key]]\n" + "".join(f"{name} = {_quoted(value)}\n" for name, value in fields))
    return "\n".join(lines).encode()


def _quoted(text: str) -> str:
    """Quote a string as TOML does, which but for one character is as JSON does."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _unusable(path: Path, what: str, error: OSError) -> str:
    why = error.strerror or type(error).__name__
    todo = f"look at its permissions, or name another with {PATH_VARIABLE}"
    return f"{shown(path)} cannot be {what} ({why}): {todo}"
