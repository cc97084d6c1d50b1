"""Secrets come from the environment: an argument could be read by others."""

import os
from collections.abc import Mapping

KEY_VARIABLE = "SNYPER_KEY"


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
    """Return the key that hub and peers share, empty where there is none. Raises ValueError when it is not
    UTF-8.
    """
    return secret(KEY_VARIABLE) or ""
