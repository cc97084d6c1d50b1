"""What a board is to be: fleet.toml, options, the environment, and what the board has already."""

import json
from base64 import b64decode
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from snyper.boards import fleet, image
from snyper.boards.fleet import BoardSpec, Fleet, FleetError
from snyper.boards.own_keys import OwnKeys, own_keys
from snyper.client import key_store
from snyper.client.certificate import load as load_certificate
from snyper.client.environment import key_text
from snyper.firmware.master.config import DEFAULTS as MASTER
from snyper.hub.tls import server_tls
from snyper.shared.keys import Rights
from tools import mip_packages

ROOT = Path(__file__).parents[2]
SECRET = "correct-horse"
KEY = "battery-staple"
KEY_TEXT = key_text(KEY)  # as boards have it
TARGET = BoardSpec(role="target", target_id="target_1")


def load(tmp_path: Path, text: str) -> Fleet:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return fleet.load(path)


def given(spec: BoardSpec, stored: dict[str, Any] | bytes | None = None) -> dict[str, Any]:
    """What would be written to a board that has `stored`."""
    if isinstance(stored, dict):
        stored = json.dumps(stored).encode()
    written: dict[str, Any] = json.loads(fleet.configuration(spec, stored, "rp2")[0])
    return written


# --- fleet.toml


def test_the_example_is_valid() -> None:
    boards = fleet.load(ROOT / "fleet.example.toml").boards
    assert [(board.role, board.target_id) for board in boards] == [
        ("master", None),
        ("target", "target_1"),
        ("target", "target_2"),
    ]
    hub, first, second = (given(board) for board in boards)
    assert hub["access_point"] == {"channel": 6}
    assert first["servo"] == {"up_deg": 90, "down_deg": 0}
    assert second["servo"] == {"up_deg": 90, "down_deg": 0, "pin": 15}
    assert second["groups"] == ["front", "left"]


def test_the_real_file_is_not_for_git() -> None:
    assert "fleet.toml" in (ROOT / ".gitignore").read_text().splitlines()


BOARD = '[[board]]\nserial = "A"\nrole = "target"\nid = "target_1"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[board]", "no TOML"),
        ("a = " + "[" * 10_000, "no TOML"),
        ("[boards]", "unknown [boards]"),
        ("board = 1", "[[board]]"),
        ("[board]\nrole = 1", "[[board]]"),
        ('[[board]]\nserial = "A"', "`role`"),
        ('[[board]]\nserial = "A"\nrole = "gun"', "`role`"),
        ('[[board]]\nrole = "master"', "`serial`"),
        ('[[board]]\nserial = "A"\nport = "B"\nrole = "master"', "`serial`"),
        ('[[board]]\nserial = "A"\nrole = "target"', "`id`"),
        ('[[board]]\nserial = "A"\nrole = "master"\nid = "target_1"', "`id`"),
        (BOARD + 'groups = "front"', "`groups`"),
        (BOARD + "password = 12345678", "`password`"),
        (BOARD + "servo = { pin = 99 }", "servo.pin"),
        (BOARD + "servo = { pin = 26 }", "same pin"),
        (BOARD + "colour = 1", "colour"),
        (BOARD + 'hub = ["no port:x"]', "hub"),
        ('[[board]]\nserial = "A"\nrole = "master"\ngroups = ["a"]', "groups"),
        ("all = 1", "[all]"),
        ("master = 1", "[hub] is a table"),
        ("[hub]\n[master]", "[hub] and [master] are the same"),
        ("[all]\nservo = { pin = 1 }", "[target]"),
        (BOARD + BOARD.replace("target_1", "target_2"), "serial A"),
        (BOARD + BOARD.replace('"A"', '"B"'), "id target_1"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FleetError) as caught:
        load(tmp_path, text)
    assert words in str(caught.value)
    assert "fleet.toml" in str(caught.value)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_as_any_editor_saves_it(tmp_path: Path, encoding: str, newline: str) -> None:
    path = tmp_path / "fleet.toml"
    path.write_bytes((BOARD + 'ssid = "Tür"\n').replace("\n", newline).encode(encoding))
    assert [board.ssid for board in fleet.load(path).boards] == ["Tür"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_a_file_in_another_encoding_is_said(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "fleet.toml"
    path.write_bytes((BOARD + 'ssid = "Tür"\n').encode(encoding))
    with pytest.raises(FleetError, match=r"fleet\.toml is not UTF-8: save it"):
        fleet.load(path)


def test_an_empty_file_names_no_board(tmp_path: Path) -> None:
    assert load(tmp_path, "") == load(tmp_path, "\ufeff\r\n")
    assert load(tmp_path, "").boards == []


@pytest.mark.parametrize("word", ["hub", "master"])
def test_a_hub_is_called_as_people_or_as_the_wire_call_it(tmp_path: Path, word: str) -> None:
    text = f'[{word}]\nssid = "range"\n[[board]]\nserial = "A"\nrole = "{word}"\n'
    [board] = load(tmp_path, text).boards
    assert (board.role, board.ssid) == ("master", "range")


def test_a_board_comes_before_its_role_and_that_before_all(tmp_path: Path) -> None:
    known = load(
        tmp_path,
        '[all]\nssid = "all"\nkey = "k1"\n[target]\nkey = "k2"\nservo = { pin = 2, travel_ms = 100 }\n'
        + BOARD
        + "servo = { pin = 3 }\n",
    )
    written = given(known.boards[0])
    assert written["wifi"]["networks"][0]["ssid"] == "all"
    assert written["key"] == key_text("k2")
    assert written["servo"] == {"pin": 3, "travel_ms": 100}


def test_options_come_before_the_file(tmp_path: Path) -> None:
    known = load(tmp_path, "[target]\nkey = 'k'\n" + BOARD)
    spec = known.find("/dev/x", "a", BoardSpec(target_id="left", groups=["g"]))
    assert (spec.port, spec.role, spec.target_id, spec.groups, spec.key) == (
        *("/dev/x", "target", "left"),
        *(["g"], "k"),
    )
    stranger = known.find("/dev/y", "", BoardSpec(role="target", target_id="new"))
    assert (stranger.target_id, stranger.key, stranger.serial) == ("new", "k", "")
    other = known.find("/dev/x", "A", BoardSpec(role="master"))
    assert (other.role, other.target_id) == ("master", None)
    with pytest.raises(FleetError, match="--role"):
        known.find("/dev/y", "", BoardSpec())


# --- a board's config.json


def test_a_new_target_joins_a_new_hub_board() -> None:
    content, config, _ = fleet.configuration(TARGET, None, "rp2")
    assert "wifi" not in json.loads(content)
    point = MASTER["access_point"]
    [network] = config["wifi"]["networks"]
    assert (network["ssid"], network["password"]) == (point["ssid"], point["password"])
    assert given(BoardSpec(role="master")) == {}


def test_what_nobody_names_stays() -> None:
    stored = {
        "target_id": "left",
        "wifi": {"hostname": "x", "networks": [{"ssid": "a", "password": SECRET}, {"ssid": "b"}]},
        "servo": {"pin": 4},
    }
    assert given(BoardSpec(role="target"), stored) == stored
    assert given(BoardSpec(role="target", groups=["g"]), stored) == {**stored, "groups": ["g"]}
    assert given(BoardSpec(role="target", password="other-secret"), stored)["wifi"] == {
        "hostname": "x",
        "networks": [{"ssid": "a", "password": "other-secret"}, {"ssid": "b"}],
    }
    assert given(BoardSpec(role="target", ssid="c", password=""), stored)["wifi"]["networks"] == [
        {"ssid": "c", "password": ""}
    ]
    assert given(replace(TARGET, settings={"servo": {"travel_ms": 90}}), stored)["servo"] == {
        "pin": 4,
        "travel_ms": 90,
    }


def test_a_file_that_says_the_same_is_left_as_it_is() -> None:
    stored = b'{"target_id":   "target_1", "wifi": {"networks": [{"ssid": "a"}]}}'
    content, _, remarks = fleet.configuration(TARGET, stored, "rp2")
    assert (content, remarks) == (stored, [])


def test_what_is_not_valid_is_named_and_left_out() -> None:
    stored = json.dumps({"target_id": "left", "servo": {"pin": 99}, "groups": ["g"]}).encode()
    content, _, remarks = fleet.configuration(BoardSpec(role="target"), stored, "rp2")
    assert json.loads(content)["groups"] == ["g"]
    assert "servo" not in json.loads(content)
    assert "servo.pin" in remarks[0]
    assert "servo" in remarks[1]
    for rubbish in (b"", b"\xff", b"[1]", b"{", b"null"):
        content, _, remarks = fleet.configuration(TARGET, rubbish, "rp2")
        assert json.loads(content)["target_id"] == "target_1"
        assert remarks


def test_a_board_that_changes_its_role_keeps_what_both_know() -> None:
    stored = {"target_id": "left", "key": KEY_TEXT, "wifi": {"networks": [{"ssid": "a"}]}}
    assert given(BoardSpec(role="master"), stored) == {"key": KEY_TEXT}


def test_a_key_of_an_earlier_firmware_is_taken_over() -> None:
    stored = json.dumps({"target_id": "left", "key": KEY}).encode()
    for _ in range(2):
        stored, _, remarks = fleet.configuration(BoardSpec(role="target"), stored, "rp2")
        assert remarks == []
        assert json.loads(stored) == {"target_id": "left", "key": KEY_TEXT}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (BoardSpec(role="target"), "--id"),
        (BoardSpec(role="target", target_id="all"), "target_id"),
        (BoardSpec(role="target", target_id="a b"), "target_id"),
        (replace(TARGET, hub=["1.2.3.4:99999"]), "hub"),
        (replace(TARGET, settings={"servo": {"pin": 23}}), "Wi-Fi chip"),
        (replace(TARGET, settings={"wifi": 1}), "wifi"),
        (BoardSpec(role="master", target_id="target_1"), "no id"),
        (BoardSpec(role="master", groups=["g"]), "no id"),
        (BoardSpec(role="master", hub=["1.2.3.4:1"]), "no id"),
    ],
)
def test_a_spec_that_no_board_can_fulfil(spec: BoardSpec, words: str) -> None:
    with pytest.raises(FleetError, match=words):
        fleet.configuration(spec, None, "rp2")


# --- secrets


def test_the_environment_says_what_nobody_else_does() -> None:
    variables = {"SNYPER_WIFI_PASSWORD": SECRET, "SNYPER_KEY": KEY}
    written = given(fleet.with_environment(TARGET, variables))
    assert written["wifi"]["networks"][0]["password"] == SECRET
    assert written["key"] == KEY_TEXT
    own = replace(TARGET, password="", key="")
    assert fleet.with_environment(own, variables) == own
    assert given(fleet.with_environment(BoardSpec(role="master"), variables)) == {
        "key": KEY_TEXT,
        "access_point": {"password": SECRET},
    }


def test_a_secret_out_of_a_file_is_what_its_owner_typed() -> None:
    """As `SNYPER_KEY="$(cat key.txt)"` gives it, of a file that an editor saved."""
    for text in ("a key ", "\ufeffa key ", "a key \r", "\ufeffa key \r\n"):
        variables = {"SNYPER_WIFI_PASSWORD": text, "SNYPER_KEY": text}
        spec = fleet.with_environment(TARGET, variables)
        assert (spec.password, spec.key) == ("a key ", "a key "), text
    assert fleet.with_environment(TARGET, {"SNYPER_KEY": "\r\n"}).key == ""


def test_a_secret_that_is_not_utf_8_is_not_shown() -> None:
    for name in ("SNYPER_WIFI_PASSWORD", "SNYPER_KEY"):
        with pytest.raises(FleetError, match=f"^{name} is not UTF-8") as caught:
            fleet.with_environment(TARGET, {name: SECRET + "\udce4"})
        assert SECRET not in str(caught.value)


def test_secrets_are_in_no_message(tmp_path: Path) -> None:
    spec = replace(TARGET, password=SECRET, key=KEY, settings={"wifi": {"country": SECRET}})
    assert SECRET not in repr(spec)
    assert KEY not in repr(spec)
    short = "short"  # shorter than a Wi-Fi password may be
    for broken in (
        replace(TARGET, password=short),
        replace(TARGET, settings={"key": short}),
        replace(TARGET, settings={"wifi": {"networks": [{"ssid": "a", "password": short}]}}),
    ):
        with pytest.raises(FleetError) as caught:
            fleet.configuration(broken, None, "rp2")
        assert short not in str(caught.value)
        assert caught.value.__cause__ is None
    for text in (
        f'[all]\npassword = "{SECRET}',
        f"[all]\npassword = {SECRET}",
        f'[all]\npassword = ["{SECRET}"]',
        f'{BOARD}wifi = {{ networks = [{{ ssid = "a", password = ["{SECRET}"] }}] }}',
    ):
        with pytest.raises(FleetError) as caught:
            load(tmp_path, text)
        assert SECRET not in str(caught.value)


def test_a_configuration_that_is_shown_has_no_secrets() -> None:
    _, config, _ = fleet.configuration(replace(TARGET, password=SECRET, key=KEY), None, "rp2")
    shown = json.dumps(fleet.masked(config))
    assert SECRET not in shown
    assert KEY not in shown
    assert KEY_TEXT[10:] not in shown
    assert shown.count("***") == 2
    assert fleet.masked({"key": "", "networks": [{"password": ""}]}) == {
        "key": "",
        "networks": [{"password": ""}],
    }


# --- what is shipped


@pytest.mark.parametrize("folder", mip_packages.PACKAGES)
def test_mips_packages_are_up_to_date(folder: str) -> None:
    package = json.loads((ROOT / folder / "package.json").read_text())
    assert package == json.loads(json.dumps(mip_packages.package(folder))), "run `make docs`"
    for path, source in package["urls"]:
        assert (ROOT / folder / source).is_file(), path


@pytest.mark.parametrize("role", image.ROLES)
def test_a_roles_package_is_all_that_its_board_has(role: str) -> None:
    shipped = image.contents(role, source=True)
    urls: Any = mip_packages.package(f"firmware/{role}")["urls"]
    assert {f"lib/{path}" for path, _ in urls} == {
        path if path != "main.py" else f"lib/snyper/firmware/{role}/main.py" for path in shipped
    }
    minified = {path.removesuffix(".py").removesuffix(".mpy") for path in image.contents(role)}
    assert minified < {path.removesuffix(".py") for path in shipped}


# --- this user's keys


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OwnKeys:
    """A fleet's key, one of a target, one of a console, and a Wi-Fi password."""
    monkeypatch.setenv("SNYPER_KEYS", str(tmp_path / "keys.toml"))
    with key_store.changing() as store:
        store.add(key_store.new_key("left"), Rights.DEVICE)
        store.add(key_store.new_key("phone"), Rights.READER)
    found, made = own_keys(has_hub_board=True)
    assert made == ["a key for your boards", "a password for your hub board's Wi-Fi"]
    assert own_keys(has_hub_board=True) == (found, [])
    return found


def test_own_keys_are_shown_nowhere(own: OwnKeys) -> None:
    assert len(own.wifi_password) == 19
    for secret in (own.key, own.key[6:], own.wifi_password, *own.lines):
        assert secret not in repr(own)
        assert secret not in repr(BoardSpec(own=own))


def test_a_target_gets_the_key_of_its_name_else_the_fleets(own: OwnKeys) -> None:
    wifi = {"networks": [{"ssid": "snyper", "password": own.wifi_password}]}
    for name, key in (("right", own.key), ("left", own.devices["left"])):
        spec = BoardSpec(role="target", target_id=name, own=own)
        assert given(spec) == {"target_id": name, "key": key, "wifi": wifi}
        assert given(spec, given(spec)) == given(spec)
    assert given(BoardSpec(role="target", own=own), {"target_id": "left"})["key"] == own.devices["left"]


def test_a_hub_board_gets_a_key_and_all_others(own: OwnKeys) -> None:
    written = given(BoardSpec(role="master", own=own))
    assert written["key"] == own.key
    assert written["keys"] == [line for line in own.lines if not line.startswith(own.key)]
    assert len(written["keys"]) == 2
    assert written["access_point"] == {"password": own.wifi_password}
    shown = json.dumps(fleet.masked(fleet.check("master", json.dumps(written).encode())))
    for secret in (own.key, own.wifi_password, *(line.partition(":")[2] for line in own.lines)):
        assert secret not in shown


def test_what_is_named_or_chosen_before_stays(own: OwnKeys) -> None:
    named = BoardSpec(role="target", target_id="t", ssid="range", password=SECRET, key=KEY, own=own)
    written = given(named)
    assert written["key"] == KEY_TEXT
    assert written["wifi"]["networks"] == [{"ssid": "range", "password": SECRET}]
    home = {"target_id": "t", "wifi": {"networks": [{"ssid": "home", "password": SECRET}]}}
    assert given(BoardSpec(role="target", own=own), home)["wifi"] == home["wifi"]
    chosen = {"access_point": {"password": SECRET}}
    assert given(BoardSpec(role="master", own=own), chosen)["access_point"] == chosen["access_point"]
    assert given(BoardSpec(role="target", target_id="t", key="", own=own))["key"] == ""


@pytest.mark.parametrize("role", image.ROLES)
def test_a_key_of_another_is_kept_until_told(own: OwnKeys, role: str) -> None:
    stored = {"key": KEY_TEXT} | ({"target_id": "t"} if role == "target" else {})
    spec = BoardSpec(role=role, own=own)
    content, config, remarks = fleet.configuration(spec, json.dumps(stored).encode(), "rp2")
    assert config["key"] == KEY_TEXT
    assert json.loads(content).get("keys") is None
    assert "--rekey" in remarks[0]
    assert KEY_TEXT[6:] not in remarks[0]
    assert given(replace(spec, own=replace(own, replace_others=True)), stored)["key"] == own.key


def test_a_target_gets_the_certificate_of_the_hub_that_it_is_to_trust(own: OwnKeys) -> None:
    spec = BoardSpec(role="target", target_id="t", hub=["tls://10.0.0.1"], own=own)
    with pytest.raises(FleetError, match="snyper hub --tls"):
        given(spec)
    path = own.path.with_name("hub.pem")
    server_tls(path)
    assert b64decode(given(spec)["certificate"]) == load_certificate(path)
    assert "certificate" not in given(replace(spec, hub=["10.0.0.1"]))
