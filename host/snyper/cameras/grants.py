"""Grants: what a key may do with the cameras, and with which. They are read from TOML. Pure.

[groups]
entrances = ["gate/*", "yard"]

[viewer]
sha256 = "…"            # of the key
watch = ["*"]
search = ["@entrances", "lane"]
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from snyper.cameras.records import MAX_NAME_CHARS, CamerasError
from snyper.cameras.tables import read_tables

SEND, WATCH, SEARCH, EXPORT = "send", "watch", "search", "export"
DELETE, RULES, LOG = "delete", "rules", "log"
SCOPES = (SEND, WATCH, SEARCH, EXPORT, DELETE, RULES, LOG)
EVERY = "*"
FILE = "keys.toml"
MAX_KEYS = 1_000
_MAX_CAMERAS = 10_000  # that one scope of a key names
GROUPS = "groups"  # the table that is no key
OWN = "key"  # the name of the key in SNYPER_SERVICE_KEY, which may do all
GROUP = "@"  # before the name of one
_DIGEST = "sha256"
_HEX_CHARS = 64


def check_is_one(camera_id: str, where: str) -> None:
    """Raise ValueError where a name that is taken for one camera's id reads as a grant's name of several."""
    if camera_id.startswith(GROUP) or EVERY in camera_id:
        raise ValueError(f"{where} is the id of one camera, not {camera_id!r}: name each by itself")


def _check_named(name: str, where: str) -> None:
    """Raise ValueError for a name of cameras in which a `*` is not the end, which no camera would have."""
    if EVERY in name[:-1]:
        raise ValueError(f"{where} has {name!r}: a {EVERY} is at the end alone, for how ids begin")


class Forbidden(CamerasError):
    """A key may not do what it asks for; the message says so to who has it, and who may change that."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}: ask who runs the gateway, whose {FILE} says what each key may do")


@dataclass(frozen=True)
class Grant:
    """A key's grant: for each scope the cameras, each by its id or, with `*` at the end, by how ids begin; in
    the file also, after `@`, by the name of a group. `digest` is the SHA-256 of the key in hex, "" for a key
    that somebody else proves, such as a hub's.
    """

    scopes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    digest: str = ""


@dataclass
class KeysFile:
    """The content of a file of keys: `groups` of cameras by name, and the grants of keys by name."""

    grants: dict[str, Grant] = field(default_factory=dict)
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def cameras_of(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return names with those of its cameras in place of each group. Raises ValueError for a group that
        is none.
        """
        found: list[str] = []
        for name in names:
            if not name.startswith(GROUP):
                found.append(name)
            elif name[len(GROUP) :] in self.groups:
                found += self.groups[name[len(GROUP) :]]
            else:
                raise ValueError(
                    f"there is no group {name}: [{GROUPS}] has {', '.join(self.groups) or 'none'}"
                )
        return tuple(found)

    def resolved(self) -> dict[str, Grant]:
        """Return the grants with cameras alone, no groups. Raises ValueError for a group that is none."""
        return {
            name: replace(
                grant, scopes={scope: self.cameras_of(cameras) for scope, cameras in grant.scopes.items()}
            )
            for name, grant in self.grants.items()
        }


class Grants:
    """The grants of keys by name. A key without one may do all."""

    def __init__(self, grants: Mapping[str, Grant]) -> None:
        self.grants = dict(grants)

    def is_limited(self, key: str) -> bool:
        """Tell whether a key may do only what it was granted."""
        return key in self.grants

    def has(self, key: str, scope: str, camera_id: str) -> bool:
        """Tell whether a key was granted that."""
        grant = self.grants.get(key)
        return grant is not None and is_among(camera_id, grant.scopes.get(scope, ()))

    def may(self, key: str, scope: str, camera_id: str) -> bool:
        """Tell whether a key may do that with a camera."""
        return not self.is_limited(key) or self.has(key, scope, camera_id)

    def among(self, key: str, scope: str) -> tuple[str, ...] | None:
        """Return the cameras that a key may do that with, None for all. Raises Forbidden for none."""
        if not self.is_limited(key):
            return None
        found = self.grants[key].scopes.get(scope, ())
        if not found:
            raise Forbidden(f"the key {key} lacks the scope {scope}")
        return None if EVERY in found else found

    def check(self, key: str, scope: str, camera_id: str) -> None:
        """Raise Forbidden where a key may not do that with a camera."""
        if not self.may(key, scope, camera_id):
            raise Forbidden(
                f"the key {key} lacks the scope {scope} for the camera {camera_id[:MAX_NAME_CHARS]}"
            )

    def check_every(self, key: str, scope: str) -> None:
        """Raise Forbidden where a key may not do that with every camera."""
        if self.among(key, scope) is not None:
            raise Forbidden(f"the key {key} has the scope {scope} for some cameras, and this is of all")


def is_among(camera_id: str, names: Iterable[str]) -> bool:
    """Tell whether a camera is named."""
    return any(
        camera_id == name or (name.endswith(EVERY) and camera_id.startswith(name[:-1])) for name in names
    )


def read_keys(text: str) -> KeysFile:
    """Read keys, a table of TOML for each, and the groups. Raises ValueError with what is wrong."""
    tables = read_tables(text)
    if len(tables) > MAX_KEYS:
        raise ValueError(f"there are more than {MAX_KEYS:,} keys")
    groups = tables.pop(GROUPS, {})
    if not isinstance(groups, Mapping):
        raise ValueError(f"{GROUPS} is no table: write [{GROUPS}]")
    file = KeysFile(
        {name: _grant(name, table) for name, table in tables.items()},
        {name: _cameras(GROUPS, name, cameras) for name, cameras in groups.items()},
    )
    if any(name.startswith(GROUP) for cameras in file.groups.values() for name in cameras):
        raise ValueError(f"a group in [{GROUPS}] names another: it has cameras alone")
    file.resolved()
    return file


def keys_text(file: KeysFile) -> str:
    """Return keys and groups as TOML, which `read_keys` reads."""
    lines: list[str] = []
    if file.groups:
        lines += [f"[{GROUPS}]"]
        lines += [f"{_quoted(name)} = {_list_text(cameras)}" for name, cameras in file.groups.items()]
        lines.append("")
    for name, grant in file.grants.items():
        lines += [f"[{_quoted(name)}]"]
        lines += [f"{_DIGEST} = {_quoted(grant.digest)}"] if grant.digest else []
        lines += [f"{scope} = {_list_text(cameras)}" for scope, cameras in grant.scopes.items()]
        lines.append("")
    return "\n".join(lines)


def parsed_scopes(given: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return scopes that people write as `watch`, of every camera, and `send=lane` or, of a group,
    `send=@yard`. Raises ValueError."""
    scopes: dict[str, tuple[str, ...]] = {}
    for one in given:
        scope, equals, camera = one.partition("=")
        if scope not in SCOPES or bool(equals) != bool(camera):
            raise ValueError(f"it is SCOPE or SCOPE=CAMERA, of {', '.join(SCOPES)}, not {one!r}")
        if len(camera) > MAX_NAME_CHARS + 1:
            raise ValueError(f"a camera has at most {MAX_NAME_CHARS} characters")
        _check_named(camera, scope)
        if scope == LOG and camera not in ("", EVERY):
            raise ValueError(f"{LOG} is of all cameras: write {LOG} alone, not {one!r}")
        scopes[scope] = (*scopes.get(scope, ()), camera or EVERY)
    return scopes


def _grant(name: str, table: object) -> Grant:
    if not isinstance(table, Mapping):
        raise ValueError(f"{name} is no table: write [{name}]")
    unknown = table.keys() - {_DIGEST, *SCOPES}
    if unknown:
        raise ValueError(f"{name} has {min(unknown)!r}: there are {_DIGEST}, {', '.join(SCOPES)}")
    digest = table.get(_DIGEST, "")
    if not isinstance(digest, str) or (digest and not _is_digest(digest)):
        raise ValueError(
            f"{_DIGEST} of {name} is {_HEX_CHARS} digits, as `snyper cameras add-key` makes them"
        )
    if digest and name == OWN:
        raise ValueError(
            f"{name} is what the key in SNYPER_SERVICE_KEY is called: give [{name}] another name"
        )
    scopes = {scope: _cameras(name, scope, table[scope]) for scope in SCOPES if scope in table}
    return Grant(scopes, digest)


def _cameras(name: str, scope: str, given: object) -> tuple[str, ...]:
    if not isinstance(given, list) or len(given) > _MAX_CAMERAS:
        raise ValueError(f'{scope} of {name} is a list of cameras, such as ["lane", "gate/*"] or ["*"]')
    for one in given:
        if not isinstance(one, str) or not 0 < len(one) <= MAX_NAME_CHARS + 1:
            raise ValueError(f"{scope} of {name} has a camera that is no id: {one!r}")
        _check_named(one, f"{scope} of {name}")
    return tuple(given)


def _list_text(names: Iterable[str]) -> str:
    return f"[{', '.join(map(_quoted, names))}]"


def _is_digest(text: str) -> bool:
    return len(text) == _HEX_CHARS and all(one in "0123456789abcdef" for one in text)


def _quoted(text: str) -> str:
    """Return a text as TOML has it, which takes all that JSON does but one."""
    return json.dumps(text).replace("\x7f", "\\u007f")
