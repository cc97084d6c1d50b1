"""Grants as people write them, and as files keep them."""

import pytest

from snyper.cameras.grants import (
    SCOPES,
    Forbidden,
    Grant,
    Grants,
    KeysFile,
    is_among,
    keys_text,
    parsed_scopes,
    read_keys,
)

NAMES = ("viewer", "with blanks", 'with "quotes" \\ and \n lines', "ประตู", "\x7f", "[a.b]", "'")


def test_what_is_written_is_read() -> None:
    grants = {
        name: Grant({"watch": ("*",), "send": (name[:100], "gate/*")}, f"{number:064x}")
        for number, name in enumerate(NAMES)
    }
    grants["hub's"] = Grant({"send": ("yard",)})
    grants["empty"] = Grant({"log": ()})
    grants["groups'"] = Grant({"watch": ("@a b", "@'")})
    file = KeysFile(grants, {"a b": ("gate/*", "ประตู"), "'": ()})
    assert read_keys(keys_text(file)) == file
    assert read_keys("") == KeysFile()
    assert read_keys("\ufeff" + keys_text(file)) == file


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[a]\nfly = ['*']", "a has 'fly'"),
        ("a = 1", "a is no table"),
        ("[a]\nwatch = '*'", "watch of a is a list"),
        ("[a]\nwatch = [1]", "no id: 1"),
        ("[a]\nwatch = ['']", "no id: ''"),
        ("[a]\nwatch = ['g*te']", r"watch of a has 'g\*te': a \* is at the end alone"),
        ("[groups]\na = ['*/gate']", r"a of groups has '\*/gate': a \* is at the end alone"),
        ("[a]\nwatch = ['" + "x" * 200 + "']", "no id"),
        ("[a]\nsha256 = 'ABC'", "sha256 of a is 64 digits"),
        ("[a]\nsha256 = 7", "sha256 of a is 64 digits"),
        (f"[key]\nsha256 = '{0:064x}'", "key is what the key in SNYPER_SERVICE_KEY is called"),
        ("groups = 1", "groups is no table"),
        ("[groups]\na = 'lane'", "a of groups is a list"),
        ("[groups]\na = ['@b']\nb = ['lane']", "names another"),
        ("[a]\nwatch = ['@yard']", "no group @yard: .groups. has none"),
        ("[groups]\nyard = []\n[a]\nwatch = ['@Yard']", "no group @Yard: .groups. has yard"),
        ("not toml", "no TOML"),
        ("a = " + "[" * 10_000, "no TOML"),
        ("".join(f"[k{number}]\n" for number in range(1_001)), "more than 1,000 keys"),
    ],
)
def test_what_is_no_file_of_keys(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_keys(text)


def test_scopes_as_people_write_them() -> None:
    assert parsed_scopes(["watch", "send=a", "send=b/*"]) == {"watch": ("*",), "send": ("a", "b/*")}
    for wrong in ("", "=a", "fly", "watch=", "Watch"):
        with pytest.raises(ValueError, match="SCOPE"):
            parsed_scopes([wrong])
    with pytest.raises(ValueError, match="at the end alone"):
        parsed_scopes(["search=g*te"])


def test_a_key_without_a_grant_may_do_all_and_one_with_an_empty_one_nothing() -> None:
    grants = Grants({"none": Grant()})
    for scope in SCOPES:
        assert grants.may("other", scope, "a")
        assert grants.may("", scope, "a")
        assert not grants.may("none", scope, "a")
        assert grants.among("other", scope) is None
        with pytest.raises(Forbidden, match=f"the key none lacks the scope {scope}"):
            grants.among("none", scope)


def test_a_group_stands_for_its_cameras() -> None:
    text = "[groups]\nyard = ['a', 'b/*']\n[k]\nwatch = ['@yard', 'c']\nsend = ['@yard']"
    file = read_keys(text)
    assert file.grants["k"].scopes["watch"] == ("@yard", "c")
    assert file.resolved()["k"].scopes == {"watch": ("a", "b/*", "c"), "send": ("a", "b/*")}
    assert "groups" not in file.grants


def test_which_cameras_are_named() -> None:
    assert is_among("gate/1", ("gate/*",))
    assert is_among("gate/", ("gate/*",))
    assert is_among("anything", ("*",))
    for other in ("gate", "Gate/1", "a/gate/1", "gat"):
        assert not is_among(other, ("gate/*", "ga", "GATE/1"))
    grants = Grants({"a": Grant({"watch": ("x", "*"), "log": ("x",)})})
    assert grants.among("a", "watch") is None
    with pytest.raises(Forbidden, match="this is of all"):
        grants.check_every("a", "log")
