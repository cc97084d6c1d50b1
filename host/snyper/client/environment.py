"""Secrets come from the environment: an argument could be read by others."""

import os
from collections.abc import Mapping
from functools import cache
from hashlib import scrypt

from snyper.shared.keys import KEY_BYTES, Key

KEY_VARIABLE = "SNYPER_KEY"
FLEET_KEY = "fleet"  # the name of the one key of all boards
_SALT = b"snyper fleet key"  # one for all: whoever knows the text gets the key on any computer


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


def hub_key() -> str:
    """Return the text of the key that hub and peers share, empty where there is none. Raises ValueError when
    it is not UTF-8.
    """
    return key_text(secret(KEY_VARIABLE) or "")


@cache
def key_text(said: str) -> str:
    """Return the text of the key that a person gives: one as it is, and any other text stretched (scrypt,
    RFC 7914), so that what travels cannot be searched for a short one. Empty stays empty.
    """
    try:
        return said and Key(said).to_text()
    except ValueError:
        secret = scrypt(said.encode(), salt=_SALT, n=1 << 15, r=8, p=1, maxmem=1 << 26, dklen=KEY_BYTES)
        return f"{FLEET_KEY}:{secret.hex()}"
