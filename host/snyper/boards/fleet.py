"""Specify each board: by `fleet.toml`, options and the environment, over what the board has.

Wi-Fi password and key are never part of a message, a `repr` or a command line.
"""

import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from snyper.boards.image import ROLES
from snyper.boards.own_keys import OwnKeys
from snyper.client.certificate import of_hubs
from snyper.client.environment import KEY_VARIABLE, key_text, secret
from snyper.client.labels import role_of, role_word
from snyper.firmware.master import config as master_config
from snyper.firmware.master.access import PUBLISHED_PASSWORD
from snyper.firmware.target import config as target_config
from snyper.shared.address import parse_hub
from snyper.shared.config import ConfigError, parse
from snyper.system.files import shown

FLEET = Path("fleet.toml")
PASSWORD_VARIABLE = "SNYPER_WIFI_PASSWORD"
PLATFORM = "rp2"  # what a fleet's file is checked for, before any board is asked

_READ: dict[str, Callable[[object, str], dict[str, Any]]] = {
    "target": target_config.read,
    "master": master_config.read,
}
_SECRET = ("password", "key", "keys")
_BOARD_FIELDS = ("serial", "port", "role", "id")
_TARGET_FIELDS = ("groups", "hub")
_FIELDS = ("ssid", "password", "key")


class FleetError(ValueError):
    """A spec or a fleet's file that is not valid. The message is one line for a person, without secrets."""


@dataclass(frozen=True)
class BoardSpec:
    """The desired state of one board. None is not specified: there the board keeps what it has.

    `settings` are parts of its config.json, in the words of docs/configuration.md.
    """

    role: str = ""
    serial: str = ""
    port: str = ""
    target_id: str | None = None
    groups: list[str] | None = None
    hub: list[str] | None = None
    ssid: str | None = None
    password: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    settings: dict[str, Any] = field(default_factory=dict, repr=False)
    own: OwnKeys | None = None  # what it gets where nothing else is named

    @property
    def name(self) -> str:
        """Return what the board's owner calls it: its id, else serial number, port or role."""
        return self.target_id or self.serial or self.port or self.role

    def over(self, other: "BoardSpec") -> "BoardSpec":
        """Return this spec, with `other` for what it does not specify."""
        named = {
            name: value
            for name, value in vars(self).items()
            if value is not None and value != "" and name != "settings"
        }
        for name in ("password", "key"):  # an empty one is said on purpose
            if getattr(self, name) is not None:
                named[name] = getattr(self, name)
        return replace(other, **named, settings=merged(other.settings, self.settings))


def with_environment(spec: BoardSpec, environment: Mapping[str, str] = os.environ) -> BoardSpec:
    """Add password and key from the environment where the spec has none.

    Raises FleetError for one that is not UTF-8.
    """
    try:
        said = BoardSpec(
            password=secret(PASSWORD_VARIABLE, environment), key=secret(KEY_VARIABLE, environment)
        )
    except ValueError as error:
        raise FleetError(str(error)) from None
    return spec.over(said)


def load(path: Path) -> "Fleet":
    """Read a fleet's file. Raises FleetError that says what is not valid, OSError when it cannot be read."""
    try:
        document = tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise FleetError(f"{path} is no TOML: {_without_quotes(str(error))}") from None
    unknown = {name for name in document if name not in ("all", "board") and not role_of(name)}
    if unknown:
        raise FleetError(f"{path}: unknown [{min(unknown)}]; there are [all], [target], [hub] and [[board]]")
    if "hub" in document and "master" in document:
        raise FleetError(f"{path}: [hub] and [master] are the same: write one of them")
    document = {role_of(name) or name: table for name, table in document.items()}
    tables = document.get("board", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise FleetError(f"{path}: each board is a table of its own: [[board]]")
    for name in ("all", *ROLES):
        if not isinstance(document.get(name, {}), dict):
            raise FleetError(f"{path}: [{role_word(name)}] is a table")
    common = {
        role: _spec_of(document.get(role, {}), f"{path}: [{role_word(role)}]", role).over(
            _spec_of(document.get("all", {}), f"{path}: [all]", "")
        )
        for role in ROLES
    }
    boards = []
    for number, table in enumerate(tables, 1):
        boards.append(_board(table, f"{path}: board {number}", common))
    for name in ("serial", "port", "target_id"):
        values = [value for board in boards if (value := getattr(board, name))]
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise FleetError(f"{path}: two boards have the {name.removeprefix('target_')} {twice}")
    return Fleet(boards, common)


@dataclass(frozen=True)
class Fleet:
    """The specs in a file: of each board, and by role that of boards which are not in it."""

    boards: list[BoardSpec] = field(default_factory=list)
    common: dict[str, BoardSpec] = field(default_factory=dict)

    def find(self, port: str, serial: str, options: BoardSpec) -> BoardSpec:
        """Return the spec of the board on `port`, by the options and this fleet.

        Raises FleetError when neither says its role.
        """
        for board in self.boards:
            if board.port == port or (serial and board.serial.lower() == serial.lower()):
                if options.role in ("", board.role):
                    return replace(options.over(board), port=port)
                break  # it becomes something else: what the file says of it holds no longer
        if options.role not in ROLES:
            raise FleetError("say what the board is to be: --role target or --role hub")
        return replace(options.over(self.common.get(options.role, BoardSpec())), port=port)


# --- a board's config.json


def check_role(spec: BoardSpec) -> None:
    """Check that a board of its role can have all that it specifies. Raises FleetError where none can."""
    if spec.role == "master" and (spec.target_id or spec.groups or spec.hub):
        raise FleetError("a hub has no id, no groups and no hub address")


def configuration(
    spec: BoardSpec, stored: bytes | None, platform: str
) -> tuple[bytes, dict[str, Any], list[str]]:
    """Apply a spec to the config.json that a board has `stored`.

    Returns the new file, the whole configuration that it means, and remarks for people. What the spec does
    not name stays; what is not valid in `stored` is left out, with a remark. Raises FleetError when the spec
    is not valid.
    """
    check_role(spec)
    stored = _with_stretched_key(stored)
    kept, remarks = _kept(spec.role, stored, platform)
    changes = _changes(spec, kept)
    is_whole = not remarks
    given = merged(kept, merged(_own(spec, merged(kept, changes), changes, remarks), changes))
    if spec.role == "target" and "target_id" not in given:
        raise FleetError("the target needs a name: --id target_1, or `id` in fleet.toml")
    try:
        config = _READ[spec.role](given, platform)
        content = stored if is_whole and stored is not None and given == kept else encoded(given)
        parse(content)
    except ConfigError as error:
        raise FleetError(f"this configuration is not valid: {error}") from None
    return content, config, remarks


def check(role: str, content: bytes, platform: str = PLATFORM) -> dict[str, Any]:
    """Read a config.json as a board of that role does, with all defaults. Raises ConfigError."""
    return _READ[role](parse(content), platform)


def encoded(config: Mapping[str, Any]) -> bytes:
    """Encode a config.json so that a person can read it on the board."""
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()


def masked(value: Any) -> Any:
    """Replace every secret in a configuration by `***`; an empty one stays empty."""
    if isinstance(value, dict):
        return {
            name: ("***" if inner else inner) if name in _SECRET else masked(inner)
            for name, inner in value.items()
        }
    return [masked(inner) for inner in value] if isinstance(value, list) else value


def merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Merge `new` into a copy of `old`: tables key by key, lists as a whole."""
    result = dict(old)
    for name, value in new.items():
        before = result.get(name)
        result[name] = (
            merged(before, value) if isinstance(value, dict) and isinstance(before, dict) else value
        )
    return result


def _with_stretched_key(stored: bytes | None) -> bytes | None:
    """Return a stored config.json with its key as firmware of this version takes it: earlier ones had any
    text.
    """
    try:
        given = parse(stored or b"{}")
    except ConfigError:
        return stored
    key = given.get("key")
    try:
        if not isinstance(key, str) or key_text(key) == key:
            return stored
    except ValueError:  # no key of any version
        return stored
    return encoded({**given, "key": key_text(key)})


def _kept(role: str, stored: bytes | None, platform: str) -> tuple[dict[str, Any], list[str]]:
    """Return the valid part of a stored config.json, and remarks on the rest."""
    if stored is None:
        return {}, []
    read = _READ[role]
    given: dict[str, Any] = {}
    try:
        given = parse(stored)
        read(given, platform)
        return given, []
    except ConfigError as error:
        remarks = [f"its config.json is not valid for a {role_word(role)}: {error}"]
    if not given:
        remarks.append("it goes back to the defaults for all that is not named now")
    kept: dict[str, Any] = {}
    for name, value in 2 * list(given.items()):  # twice: one may be valid only with another
        try:
            read({**kept, name: value}, platform)
        except ConfigError:
            continue
        kept[name] = value
    left_out = sorted(set(given) - set(kept))
    if left_out:
        remarks.append(f"it goes back to the defaults for: {', '.join(left_out)}")
    return kept, remarks


def _changes(spec: BoardSpec, kept: Mapping[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in ("target_id", "groups", "hub", "key"):
        value = getattr(spec, name)
        if value is not None:
            changes[name] = key_text(value) if name == "key" else value
    wifi = {
        name: value for name, value in (("ssid", spec.ssid), ("password", spec.password)) if value is not None
    }
    if spec.role == "master":
        if wifi:
            changes["access_point"] = wifi
    elif not _names_networks(spec.settings.get("wifi")):
        networks = kept.get("wifi", {}).get("networks") or [{}]
        if spec.ssid is not None:
            changes["wifi"] = {"networks": [{"ssid": spec.ssid, "password": spec.password or ""}]}
        elif spec.password is not None:
            changes["wifi"] = {"networks": [{**networks[0], "password": spec.password}, *networks[1:]]}
    return merged(changes, spec.settings)


def _own(
    spec: BoardSpec, given: Mapping[str, Any], named: Mapping[str, Any], remarks: list[str]
) -> dict[str, Any]:
    """Return what a board gets of this user's keys, and of its hub's certificate, where nothing else is
    `named`; `given` is its configuration so far. Raises FleetError.
    """
    changes: dict[str, Any] = {}
    if spec.role == "target" and "certificate" not in named:
        changes |= _certificate(given)
    own = spec.own
    if own is None:
        return changes
    has = given.get("key", "")
    if "key" not in named and own.key:
        if has and not own.knows(has) and not own.replace_others:
            remarks.append(
                f"it keeps a key ({has.partition(':')[0]}) that is not in {shown(own.path)}: your hub does"
                " not let it in. With --rekey it gets yours"
            )
            return changes
        device = own.devices.get(given.get("target_id", "")) if spec.role == "target" else None
        changes["key"] = device or own.key
    if spec.role == "master":
        key = changes.get("key", has)
        others = [line for line in own.lines if line.partition(" ")[0] != key]
        if "keys" not in named and (others or given.get("keys")):
            changes["keys"] = others
        password = given.get("access_point", {}).get("password", PUBLISHED_PASSWORD)
        if own.wifi_password and password == PUBLISHED_PASSWORD:
            changes["access_point"] = {"password": own.wifi_password}
    elif own.wifi_password and _has_published_wifi(given):
        changes["wifi"] = {"networks": [{"ssid": "snyper", "password": own.wifi_password}]}
    return changes


def _certificate(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the certificate of a hub that is spoken to under TLS, or nothing. Raises FleetError."""
    try:
        wants_tls = any(parse_hub(hub)[2] for hub in given.get("hub", ()))
    except ValueError:  # which whoever reads it says better
        return {}
    if not wants_tls:
        return {}
    try:
        return {"certificate": of_hubs(given["hub"])}
    except ValueError as error:
        if given.get("certificate"):
            return {}
        raise FleetError(str(error)) from None


def _has_published_wifi(given: Mapping[str, Any]) -> bool:
    """Return whether a target joins a hub board's Wi-Fi as it comes, or nobody has said what it joins."""
    networks = given.get("wifi", {}).get("networks", [{"password": PUBLISHED_PASSWORD}])
    return [*networks] in (
        [{"password": PUBLISHED_PASSWORD}],
        [{"ssid": "snyper", "password": PUBLISHED_PASSWORD}],
    )


def _names_networks(wifi: object) -> bool:
    return isinstance(wifi, dict) and "networks" in wifi


# --- a fleet's file


def _text(path: Path) -> str:
    """Read a text file, with a byte order mark or without.

    Raises FleetError when it is not UTF-8, OSError when it cannot be read.
    """
    content = path.read_bytes()
    try:
        if b"\0" not in content:  # which UTF-16 without a mark is full of, and UTF-8 allows
            return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    raise FleetError(f"{path} is not UTF-8: save it in that encoding")


def _board(table: Mapping[str, Any], where: str, common: Mapping[str, BoardSpec]) -> BoardSpec:
    role = role_of(str(table.get("role", "")))
    if not role:
        raise FleetError(f'{where}: `role` is "target" or "hub"')
    own = _spec_of({**table, "role": role}, where, role)
    if bool(own.serial) == bool(own.port):
        raise FleetError(f"{where}: say which one: its `serial` (`snyper boards` lists them) or its `port`")
    if (role == "target") != bool(own.target_id):
        raise FleetError(f"{where}: `id` is the name of a target; a target needs one, a hub has none")
    spec = own.over(common[role])
    try:
        configuration(spec, None, PLATFORM)
    except FleetError as error:
        raise FleetError(f"{where} ({spec.name}): {error}") from None
    return spec


def _spec_of(table: Mapping[str, Any], where: str, role: str) -> BoardSpec:
    """Make a spec of a table: own fields, and all others as parts of config.json. The role "" is any.

    Raises FleetError when the table is not valid.
    """
    fields = list(_FIELDS)
    if role:
        fields += _BOARD_FIELDS
    if role == "target":
        fields += _TARGET_FIELDS
    values = {name: table[name] for name in fields if name in table}
    for name, value in values.items():
        if name in _TARGET_FIELDS:
            if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
                raise FleetError(f"{where}: `{name}` is a list of strings")
        elif not isinstance(value, str):
            raise FleetError(f"{where}: `{name}` is a string")
    if "id" in values:
        values["target_id"] = values.pop("id")
    settings = {name: value for name, value in table.items() if name not in fields}
    if not role and settings:
        raise FleetError(f"{where}: `{min(settings)}` belongs to one role: write it below [target] or [hub]")
    return BoardSpec(**{"role": role, **values}, settings=settings)


def _without_quotes(text: str) -> str:
    """Cut from a parser's message what it quotes of the file, which may be a secret."""
    return text.partition(":")[0] if "'" in text or '"' in text else text
