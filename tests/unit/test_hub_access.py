"""Where a hub on a computer listens, and which keys this computer has."""

import logging
from pathlib import Path

import pytest

from snyper.client import environment, key_store
from snyper.client.environment import key_text
from snyper.hub.access import decided
from snyper.hub.options import Options, parse
from snyper.shared.keys import Key, Rights

FLEET, DESK, LANE = (
    Key(f"{name}:{digit * 64}") for name, digit in (("home", "1"), ("desk", "2"), ("lane", "3"))
)


@pytest.fixture
def stored() -> None:
    """Give this user a key of each kind."""
    with key_store.changing() as store:
        store.add(FLEET, Rights.FLEET)
        store.add(DESK, Rights.CONSOLE)
        store.add(LANE, Rights.DEVICE)


def test_without_a_key_it_listens_on_this_computer_alone() -> None:
    assert decided(Options())[0].listen == "127.0.0.1:8081"
    assert decided(Options(is_open=True))[0].listen == ":8081"
    for listen in ("127.0.0.1:1", "[::1]:1", "localhost:1", "127.9.9.9:1"):
        assert decided(Options(listen))[0].listen == listen
    for listen in (":1", "0.0.0.0:1", "[::]:1", "192.168.4.1:1", "hub.local:1"):
        with pytest.raises(ValueError, match=r"`snyper keys new`, listen on 127.0.0.1, or .* --open"):
            decided(Options(listen))
        assert decided(Options(listen, is_open=True))[0].listen == listen


@pytest.mark.usefixtures("stored")
def test_with_keys_it_listens_on_every_address() -> None:
    options, keys = decided(Options())
    assert (options.listen, options.is_open) == (":8081", False)
    assert keys.lines == (
        f"home:{'1' * 64} fleet",
        f"desk:{'2' * 64} console",
        f"lane:{'3' * 64} device",
    )
    assert decided(Options("0.0.0.0:1"))[0].listen == "0.0.0.0:1"
    assert "1111" not in repr(keys)


@pytest.mark.usefixtures("stored")
def test_the_variable_goes_before_the_file_and_that_before_the_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert environment.client_key() == FLEET.to_text()
    file = tmp_path / "desk.key"
    file.write_text(f"\ufeff{DESK.to_text()}\r\n")
    file.chmod(0o600)
    monkeypatch.setenv("SNYPER_KEY_FILE", str(file))
    keys = environment.keys()
    assert (keys.client, keys.path, keys.origin) == (DESK.to_text(), file, str(file))
    monkeypatch.setenv("SNYPER_KEY", "a word")
    keys = environment.keys()
    assert keys.lines == (f"{key_text('a word')} fleet",)
    assert (keys.path, keys.origin) == (None, "SNYPER_KEY")
    monkeypatch.setenv("SNYPER_KEY", "")
    assert environment.keys().lines == ()
    assert decided(Options())[0].listen == "127.0.0.1:8081"


def test_a_key_is_one_in_capitals_and_in_blanks_too() -> None:
    key = Key(f"Lane:{'c' * 64}").to_text()
    for said in (key, f"Lane:{'C' * 64}", f" {key} ", f"{key}\n"):
        assert key_text(said) == key
    for text in ("a word", f"Lane:{'g' * 64}", f"La ne:{'c' * 64}"):
        assert key_text(text).startswith("fleet:")
    assert key_text("") == ""


def test_a_file_that_others_can_read_is_told_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "key"
    file.write_text("a word")
    file.chmod(0o644)
    monkeypatch.setenv("SNYPER_KEY_FILE", str(file))
    with caplog.at_level(logging.WARNING):
        assert environment.client_key() == key_text("a word")
    assert f"chmod 600 {file}" in caplog.text


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read"),
        (b"", "no key on one line"),
        (b"\n", "no key on one line"),
        (b"secret\nsecret\n", "no key on one line"),
        (b"secret" * 1000, "no key on one line"),
        (b"secret\xff", "not UTF-8"),
    ],
)
def test_a_file_that_holds_no_key_is_said(
    content: bytes | None, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)
    monkeypatch.setenv("SNYPER_KEY_FILE", str(file))
    with pytest.raises(ValueError, match=why) as raised:
        environment.keys()
    assert "SNYPER_KEY_FILE: " in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_options_survive_the_change_of_process() -> None:
    for options in (Options(), Options(":1", is_open=True, as_json=True), Options(journal=Path("j"))):
        assert parse(options.arguments()) == options
