"""Secrets come from the environment, or from a file: an argument could be read by others."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from hashlib import scrypt
from pathlib import Path

from snyper.shared.keys import KEY_BYTES, Key, Rights
from snyper.system.files import shown

KEY_VARIABLE = "SNYPER_KEY"
FILE_VARIABLE = "SNYPER_KEY_FILE"
FLEET_KEY = "fleet"  # the name of the key of all boards
_SALT = b"snyper fleet key"  # one for all: whoever knows the text gets the key on any computer
_MAX_FILE_BYTES = 4096
_CUT_KEY = re.compile(r"[A-Za-z0-9_.-]{1,32}:[0-9A-Fa-f]+")


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Read the secret in a variable, None where it is not set. Raises ValueError, which does not say the
    secret, for one that is not UTF-8.

    What editors put around the text of a file is left out: a byte order mark before it, line ends behind it.
    """
    value = environment.get(name)
    if value is None:
        return None
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} is not UTF-8: give it in that encoding") from None
    return value.removeprefix("\ufeff").rstrip("\r\n")


@dataclass(frozen=True)
class Keys:
    """The keys that this computer has. `client` is the text of the one that its own clients prove, empty for
    none; `lines` are all of them as a hub takes them (`NAME:HEX RIGHTS`). `origin` is where they come from,
    for people; `path` the file, if it is one.
    """

    client: str = field(repr=False)
    lines: tuple[str, ...] = field(repr=False)
    origin: str
    path: Path | None = None


def keys() -> Keys:
    """Return the keys of this computer: that in the variable SNYPER_KEY, of which an empty one means none;
    else that in the file which SNYPER_KEY_FILE names; else those in the user's configuration. Raises
    ValueError, which says what to do and no secret, for what cannot be read or is none.
    """
    said = secret(KEY_VARIABLE)
    if said is not None:
        return _one(said, KEY_VARIABLE)
    from snyper.client import key_store  # which needs more of Python than a client with a key does

    if os.environ.get(FILE_VARIABLE):
        path = Path(os.environ[FILE_VARIABLE])
        return _one(line_of(path, FILE_VARIABLE, "key"), shown(path), path)
    try:
        store = key_store.load()
    except key_store.NoHomeError:
        return Keys("", (), "")
    key = store.client_key()
    return Keys(
        "" if key is None else key.to_text(),
        tuple(stored.to_line() for stored in store.keys),
        shown(store.path),
        store.path,
    )


def client_key() -> str:
    """Return the text of the key that clients on this computer prove, empty where there is none. Raises
    ValueError as `keys` does.
    """
    return keys().client


@cache
def key_text(said: str) -> str:
    """Return the text of the key that a person gives: one as it is, also with capital digits or in blanks,
    and any other text stretched (scrypt, RFC 7914), so that what travels cannot be searched for a short one.
    Empty stays empty. Raises ValueError for blanks alone, and for a key of which digits are missing.
    """
    name, _, digits = said.strip().partition(":")
    if said and not name:
        raise ValueError("the key is nothing but blanks: give one, or leave it empty for none")
    try:
        return said and Key(f"{name}:{digits.lower()}").to_text()
    except ValueError:
        if _CUT_KEY.fullmatch(said.strip()):
            raise ValueError(
                f"the key {name} has {len(digits)} of {2 * KEY_BYTES} digits: copy it whole"
            ) from None
        secret = scrypt(said.encode(), salt=_SALT, n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=KEY_BYTES)
        return f"{FLEET_KEY}:{secret.hex()}"


def _one(said: str, origin: str, path: Path | None = None) -> Keys:
    """Return the one key that is the fleet's, or none."""
    text = key_text(said)
    return Keys(text, (f"{text} {Rights.FLEET}",) if text else (), origin, path)


def line_of(path: Path, named_by: str, what: str) -> str:
    """Read the line that a file is, a key or another secret. Raises ValueError, which says what to do."""
    from snyper.client.key_store import warn_of_access

    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        warn_of_access(path)
        text = content.decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ValueError(f"{named_by}: {shown(path)} cannot be read ({why}): name another") from None
    except UnicodeDecodeError:
        raise ValueError(f"{named_by}: {shown(path)} is not UTF-8: save it in that encoding") from None
    if not text or "\n" in text or len(content) > _MAX_FILE_BYTES:
        raise ValueError(f"{named_by}: {shown(path)} holds no {what} on one line: name another")
    return text
