"""Names of received files: whatever a sender says, a file is in the folder, with a name of its own."""

import os
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, strategies as st

from snyper.device.inbox.limits import Limits, WrongType
from snyper.device.inbox.names import MAX_NAME_BYTES, UNNAMED, candidates, folded, plain_text, safe_name
from snyper.device.inbox.taken_names import Names

HOSTILE = {
    "": UNNAMED,
    "..": UNNAMED,
    "/": UNNAMED,
    "../../etc/passwd": "passwd",
    "..\\..\\boot.ini": "boot.ini",
    "C:\\Users\\x\\y.doc": "y.doc",
    "a\0b.txt": "ab.txt",
    "\n\r\t": UNNAMED,
    " .hidden ": "hidden",
    ".inbox": "inbox",
    "a.txt. . ": "a.txt",
    "two  blanks.txt": "two blanks.txt",
    "CON": "_CON",
    "con.tar.gz": "_con.tar.gz",
    "COM1 .x": "_COM1 .x",
    "lpt¹": "_lpt¹",
    "console.txt": "console.txt",
    "a:b|c?.txt": "a_b_c_.txt",
    "q\"u'o;te$.txt": "q_u'o;te$.txt",
    "-rf": "_rf",
    "~root": "_root",
    "möwe.jpg": "möwe.jpg",
    "mo\u0308we.jpg": "möwe.jpg",
    "写真.png": "写真.png",
    "gpj\u202e.exe": "gpj.exe",
    "\ud800half": "half",
}


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name(text: str) -> None:
    assert safe_name(text) == HOSTILE[text]


def test_a_long_name_keeps_its_suffix() -> None:
    assert safe_name("x" * 300 + ".jpg") == "x" * (MAX_NAME_BYTES - 4) + ".jpg"
    assert safe_name("é" * 300 + ".jpg").endswith("é.jpg")
    assert len(safe_name("a." + "y" * 300)) == MAX_NAME_BYTES


@given(st.text(max_size=300) | st.text("./\\:~- \0CONcon.1²", max_size=12))
def test_any_name_is_safe(text: str) -> None:
    name = safe_name(text)
    assert name == safe_name(name)
    assert 0 < len(name.encode()) <= MAX_NAME_BYTES
    assert not set(name) & set('/\\\0<>:"|?*\n')
    assert name[0] not in ".-~ "
    assert name[-1] not in ". "
    plain_text(text).encode()


@given(st.text(max_size=300))
def test_a_file_system_takes_it(text: str) -> None:
    with TemporaryDirectory() as folder:
        for name in islice(candidates(safe_name(text)), 3):
            Path(folder, name).write_bytes(b"")
        assert len(list(Path(folder).iterdir())) == 3


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    for taken in ("Photo.JPG", "photo-2.jpg", "mo\u0308we"):
        (tmp_path / taken).touch()
    names = Names(tmp_path)
    assert next(names.free("photo.jpg")) == "photo-3.jpg"
    assert next(names.free("möwe")) == "möwe-2"
    (tmp_path / "photo-3.jpg").touch()
    names.add("photo-3.jpg")
    assert next(names.free("photo.jpg")) == "photo-4.jpg"
    (tmp_path / "möwe-2").touch()  # by somebody else
    os.utime(tmp_path, (0, 0))  # whose change may be in the very millisecond of ours
    assert next(names.free("möwe")) == "möwe-3"
    assert folded("STRASSE") == folded("straße")


@pytest.mark.parametrize(
    ("name", "content_type", "is_taken"),
    [
        ("a.jpg", "image/jpeg", True),
        ("a.JPG", "Image/JPEG; q=1", True),
        ("a.exe", "image/jpeg", False),
        ("a.jpg", "text/html", False),
        ("jpg", "image/jpeg", False),
    ],
)
def test_types_and_suffixes(name: str, content_type: str, is_taken: bool) -> None:
    limits = Limits(types=("image/*",), suffixes=(".jpg", ".png"))
    if is_taken:
        limits.check_type(name, content_type)
    else:
        with pytest.raises(WrongType):
            limits.check_type(name, content_type)
