"""The keys and the Wi-Fi password that boards get where nobody names others: this user's, made when the first
of them needs them.
"""

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from snyper.client.environment import FILE_VARIABLE, FLEET_KEY, keys
from snyper.client.key_store import changing, new_key
from snyper.shared.keys import Rights

_PASSWORD_CHARS = "abcdefghijkmnpqrstuvwxyz23456789"  # none that looks like another
_PASSWORD_GROUPS = 4  # of four: 80 random bits


@dataclass(frozen=True)
class OwnKeys:
    """This user's keys for boards: `key`, that of the fleet, or from `devices` the one of their own name; a
    hub board gets all `lines` (`NAME:HEX RIGHTS`), and its Wi-Fi `wifi_password`, empty where there is none
    yet. `path` is where they are kept. With `replace_others` a board loses a key that is none of these.
    """

    path: Path
    key: str = field(repr=False)
    devices: Mapping[str, str] = field(repr=False)
    lines: Sequence[str] = field(repr=False)
    wifi_password: str = field(repr=False)
    replace_others: bool = False

    def knows(self, key: str) -> bool:
        """Return whether `key` is one of these."""
        return any(line.partition(" ")[0] == key for line in self.lines)


def own_keys(has_hub_board: bool, replace_others: bool = False) -> tuple[OwnKeys, list[str]]:
    """Return this user's keys, and what was made for that, for people: a key of the fleet where there is none
    and, where a hub board is to be deployed, a password of its Wi-Fi. Raises KeyStoreError, ValueError.
    """
    if os.environ.get(FILE_VARIABLE):
        found = keys()
        path = found.path or Path(found.origin)
        return OwnKeys(path, found.client, {}, found.lines, "", replace_others), []
    made = []
    with changing() as store:
        if store.fleet_key() is None:
            store.add(new_key(FLEET_KEY), Rights.FLEET)
            made.append("a key for your boards")
        if has_hub_board and not store.wifi_password:
            store.wifi_password = _new_password()
            made.append("a password for your hub board's Wi-Fi")
        fleet_key = store.fleet_key()
        assert fleet_key is not None
        devices = {key.name: key.key.to_text() for key in store.keys if key.rights == Rights.DEVICE}
        lines = [key.to_line() for key in store.keys]
        password = store.wifi_password
    return OwnKeys(store.path, fleet_key.to_text(), devices, lines, password, replace_others), made


def _new_password() -> str:
    """Make a password that a person can type."""
    groups = ["".join(secrets.choice(_PASSWORD_CHARS) for _ in range(4)) for _ in range(_PASSWORD_GROUPS)]
    return "-".join(groups)
