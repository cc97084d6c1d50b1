"""Archives made while they are sent are read by the standard library, beyond 65,535 files and 4 GiB too."""

import io
import zipfile
from collections.abc import Iterator

import pytest

from snyper.cameras import zip_stream
from snyper.cameras.zip_stream import ZipStream


def archive(files: dict[str, bytes]) -> Iterator[bytes]:
    stream = ZipStream(io.BytesIO())
    for name, content in files.items():
        yield from stream.file(name, content)
    yield from stream.copy("last", io.BytesIO(b"x" * 200_000))
    yield from stream.end()


def check(files: dict[str, bytes]) -> zipfile.ZipFile:
    found = zipfile.ZipFile(io.BytesIO(b"".join(archive(files))))
    assert found.testzip() is None
    assert {name: found.read(name) for name in found.namelist()} == {**files, "last": b"x" * 200_000}
    return found


def test_files() -> None:
    check({})
    check({"pictures/a.jpg": b"\xff\xd8", "ทะเบียน.csv": b"", "b": b"b" * 100_000})


def test_many_files() -> None:
    files = {f"{number}": b"" for number in range(70_000)}
    found = zipfile.ZipFile(io.BytesIO(b"".join(archive(files))))
    assert len(found.namelist()) == 70_001


def test_numbers_that_32_bits_do_not_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_stream, "_LONG_FROM", 1_000)
    found = check({"a": b"a" * 999, "b": b"b" * 1_000, "c": b"c" * 5_000})
    assert [len(one.extra) for one in found.infolist()] == [0, 28, 28, 28]
