"""The file of keys: what it keeps, who can read it, and what is said of one that is not valid."""

import logging
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from snyper.client import key_store
from snyper.client.key_store import KeyStore, KeyStoreError, StoredKey, new_key
from snyper.shared.keys import Key, Rights

SECRET = "ab" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "keys.toml"


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_there_is_none_at_first(path: Path) -> None:
    store = key_store.load(path)
    assert (store.keys, store.wifi_password, store.client_key(), store.fleet_key()) == ([], "", None, None)
    assert not path.exists()


def test_what_is_added_is_there_and_only_for_its_owner(path: Path) -> None:
    with key_store.changing(path) as store:
        store.add(new_key("fleet"), Rights.FLEET)
        store.add(Key(f"kiosk.1:{SECRET}"), Rights.READER)
        store.wifi_password = 'ein "Wort" \\ mit Äpfeln\x7f\t'
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o077 == 0
    again = key_store.load(path)
    assert again.wifi_password == 'ein "Wort" \\ mit Äpfeln\x7f\t'
    assert [(stored.name, stored.rights) for stored in again.keys] == [
        ("fleet", "fleet"),
        ("kiosk.1", "reader"),
    ]
    assert again.keys[1].to_line() == f"kiosk.1:{SECRET} reader"
    assert SECRET not in repr(again) + repr(again.keys)
    with key_store.changing(path) as store:
        store.revoke("fleet")
    assert [stored.name for stored in key_store.load(path).keys] == ["kiosk.1"]
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".keys.toml.lock", "keys.toml"]


def test_a_block_that_raises_changes_nothing(path: Path) -> None:
    def add_twice() -> None:
        with key_store.changing(path) as store:
            store.add(new_key("fleet"), Rights.FLEET)
            store.add(new_key("fleet"), Rights.READER)

    with pytest.raises(KeyStoreError, match="a key fleet already"):
        add_twice()
    assert not path.exists()


def test_an_error_of_the_block_is_not_one_of_the_file(path: Path) -> None:
    def add_and_read() -> None:
        with key_store.changing(path) as store:
            store.add(new_key("fleet"), Rights.FLEET)
            Path("/nowhere").read_text()

    with pytest.raises(FileNotFoundError, match="/nowhere"):
        add_and_read()
    assert not path.exists()


def test_the_key_of_this_computer_is_the_newest_with_the_most_rights() -> None:
    keys = {word: Key(f"{word}:{SECRET}") for word in ("old", "new", "console", "reader", "target_1")}
    rights = (Rights.FLEET, Rights.FLEET, Rights.CONSOLE, Rights.READER, Rights.DEVICE)
    stored = [StoredKey(key, word) for key, word in zip(keys.values(), rights, strict=True)]
    assert KeyStore(Path(), stored).client_key() is keys["new"]
    assert KeyStore(Path(), stored).fleet_key() is keys["new"]
    assert KeyStore(Path(), stored[2:]).client_key() is keys["console"]
    assert KeyStore(Path(), stored[2:]).fleet_key() is None
    assert KeyStore(Path(), stored[3:]).client_key() is keys["reader"]
    assert KeyStore(Path(), stored[4:]).client_key() is None


def test_two_writers_at_once_lose_nothing(path: Path) -> None:
    source = (
        "import sys\nfrom pathlib import Path\nfrom snyper.client.key_store import changing, new_key\n"
        "for number in range(20):\n"
        "    with changing(Path(sys.argv[1])) as store:\n"
        "        store.add(new_key(f'{sys.argv[2]}{number}'), 'reader')\n"
    )
    writers = [subprocess.Popen([sys.executable, "-c", source, path, name]) for name in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert len(key_store.load(path).keys) == 40


def test_others_that_can_read_it_are_told_of_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    written(path, "").chmod(0o640)
    with caplog.at_level(logging.WARNING):
        key_store.load(path)
        key_store.load(path)
    assert caplog.messages == [
        f"{path}: others on this computer can read it. Keep it to yourself: chmod 600 {path}"
    ]


FLEET = f'[[key]]\nname = "fleet"\nrights = "fleet"\nsecret = "{SECRET}"\n'


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f'wifi_password = "{SECRET}', "is no TOML"),
        (f"{SECRET} = ", "is no TOML"),
        (f'{FLEET}more = "{SECRET}"\n', "each [[key]] has name, rights, secret"),
        (f'key = "{SECRET}"\n', "it consists of"),
        (f'{SECRET} = "a"\n', "it consists of"),
        (f'key = ["{SECRET}"]\n', "each [[key]] has"),
        (FLEET.replace(SECRET, SECRET[1:]), "64 hexadecimal digits"),
        (FLEET.replace(f'"{SECRET}"', "7"), "each field is a string"),
        (FLEET.replace('rights = "fleet"', f'rights = "{SECRET}"'), "there are no such rights"),
        (FLEET + FLEET, "a key fleet already"),
        ('wifi_password = "short"\n', "8 to 63 bytes"),
        (f"wifi_password = [{'[' * 900}", "is no TOML"),
        ("wifi_password = 7\n", "each field is a string"),
    ],
)
def test_what_is_no_file_of_keys_is_said_without_its_secrets(path: Path, text: str, why: str) -> None:
    with pytest.raises(KeyStoreError) as raised:
        key_store.load(written(path, text))
    message = str(raised.value)
    assert why in message
    assert str(path) in message
    assert message.endswith("mend it, or move it away and begin anew with `snyper keys new`")
    assert "\n" not in message
    assert SECRET not in message
    assert SECRET[1:] not in message


def test_what_cannot_be_read_or_written_is_said(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(KeyStoreError, match=r"cannot be read \(.*\): look at its permissions"):
        key_store.load(path)
    below = path.parent / "file" / "keys.toml"
    written(path.parent / "file", "")
    with pytest.raises(KeyStoreError, match=r"cannot be written \(.*\): look at its permissions"):
        key_store.changing(below).__enter__()


def test_a_loop_of_links_and_a_file_without_end_are_no_files_of_keys(path: Path) -> None:
    path.parent.mkdir(parents=True)
    for target, why in ((path, "cannot be read"), (Path("/dev/zero"), "is longer than a file of keys")):
        path.symlink_to(target)
        for use in (key_store.load, lambda path: key_store.changing(path).__enter__()):
            with pytest.raises(KeyStoreError, match=why):
                use(path)
        path.unlink()


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SNYPER_KEYS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert key_store.default_path() == tmp_path / "snyper" / "keys.toml"
    monkeypatch.setenv("SNYPER_KEYS", "/somewhere/else")
    assert key_store.default_path() == Path("/somewhere/else")


@given(st.text(st.characters(codec="utf-8"), min_size=8, max_size=63))
def test_any_password_comes_back(password: str) -> None:
    store = KeyStore(Path("x"), [])
    try:
        store.wifi_password = password
    except KeyStoreError:
        assert len(password.encode()) > 63
        return
    document = tomllib.loads(key_store._encoded(store).decode())
    assert document == {"wifi_password": password}


def test_a_key_has_a_name_that_fits() -> None:
    for name in ("", "a b", "ä", "x" * 33, "a:b"):
        with pytest.raises(KeyStoreError, match="choose another name"):
            new_key(name)
    assert new_key("a").secret != new_key("a").secret
