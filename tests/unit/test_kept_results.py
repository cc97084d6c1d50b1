"""Results that are kept: for how long, how many, over a restart, and none of their files without one."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from snyper.offload.idempotency import KeptResults, Result


class Clock:
    now_s = 1_000_000.0
    ahead_s = 0.0  # of the time of day

    def wall_s(self) -> float:
        return self.now_s + self.ahead_s

    def steady_s(self) -> float:
        return self.now_s


@contextmanager
def kept_in(folder: Path, clock: Clock, most: int = 3, most_bytes: int = 100) -> Iterator[KeptResults]:
    kept = KeptResults(folder, most, most_bytes, 60.0, clock.wall_s, clock.steady_s)
    try:
        yield kept
    finally:
        kept.close()


def result(folder: Path, name: str, content: bytes | None = None) -> Result:
    """Make a result, of a file where it has content."""
    file = None
    if content is not None:
        file = folder / f"{name}.new"
        file.write_bytes(content)
    return Result(
        f"job {name}", "service", f"digest {name}", b'"%s"' % name.encode(), file, "a.csv", "text/csv"
    )


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_nobody_else_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite3"
    for _ in range(2):
        with kept_in(tmp_path, Clock()):
            assert [stat.S_IMODE(one.stat().st_mode) for one in tmp_path.glob("results.sqlite3*")] == [
                *(0o600, 0o600, 0o600)
            ]
        path.chmod(0o644)  # as before there was this


def files_in(folder: Path) -> int:
    return len(list((folder / "results").iterdir()))


async def test_a_result_is_what_it_was_also_after_a_restart(tmp_path: Path) -> None:
    clock = Clock()
    with kept_in(tmp_path, clock) as kept:
        assert await kept.find(["a"]) is None
        put = await kept.put(["a"], "ann", result(tmp_path, "a", b"content"))
        assert put.file is not None
        assert put.file.read_bytes() == b"content"
        assert await kept.find(["a"]) == put
    with kept_in(tmp_path, clock) as kept:
        assert await kept.find(["a"]) == put
        assert await kept.find_by_id("job a", "ann") == put
        assert await kept.find_by_id("job a", "bo") is None
        await kept.remove("job a")
        assert await kept.find(["a"]) is None
    assert files_in(tmp_path) == 0


async def test_what_is_too_old_goes(tmp_path: Path) -> None:
    clock = Clock()
    with kept_in(tmp_path, clock) as kept:
        await kept.put(["a"], "", result(tmp_path, "a", b"x"))
        clock.now_s += 59
        assert await kept.find(["a"]) is not None
        clock.now_s += 1
        assert await kept.find(["a"]) is None
        await kept.put(["b"], "", result(tmp_path, "b", b"x"))
        assert files_in(tmp_path) == 1


@pytest.mark.parametrize("ahead_s", [30 * 86_400.0, -30 * 86_400.0])
async def test_a_clock_that_leaps_makes_nothing_old(tmp_path: Path, ahead_s: float) -> None:
    clock = Clock()
    for restarts in (False, True):
        for before_s, after_s in ((0.0, ahead_s), (ahead_s, 0.0)):
            with kept_in(tmp_path, clock) as kept:
                clock.ahead_s = before_s
                await kept.put(["a"], "", result(tmp_path, "a", b"x"))
                if not restarts:
                    clock.ahead_s = after_s
                    clock.now_s += 59
                    await kept.put(["b"], "", result(tmp_path, "b", b"x"))
                    assert await kept.find(["a"]) is not None
            clock.ahead_s = after_s
            with kept_in(tmp_path, clock) as kept:
                assert await kept.find(["a"]) is not None
                await kept.put(["c"], "", result(tmp_path, "c", b"x"))
                assert await kept.find(["a"]) is not None


async def test_the_oldest_go_where_there_are_too_many(tmp_path: Path) -> None:
    with kept_in(tmp_path, Clock()) as kept:  # which stands still: the order counts
        for name in "abcd":
            await kept.put([name], "", result(tmp_path, name, b"x"))
        assert [await kept.find([name]) is not None for name in "abcd"] == [False, True, True, True]
        assert files_in(tmp_path) == 3


async def test_the_oldest_go_where_they_are_too_large(tmp_path: Path) -> None:
    with kept_in(tmp_path, Clock()) as kept:
        await kept.put(["a"], "", result(tmp_path, "a", bytes(60)))
        await kept.put(["b"], "", result(tmp_path, "b", bytes(60)))
        assert await kept.find(["a"]) is None
        await kept.put(["c"], "", result(tmp_path, "c", bytes(1000)))  # the newest stays, however large
        assert [await kept.find([name]) is not None for name in "abc"] == [False, False, True]
        assert files_in(tmp_path) == 1


async def test_a_file_without_a_result_goes_and_a_result_without_its_file(tmp_path: Path) -> None:
    with kept_in(tmp_path, Clock()) as kept:
        put = await kept.put(["a"], "", result(tmp_path, "a", b"x"))
    assert put.file is not None
    put.file.rename(tmp_path / "results" / "left by a process that was killed")
    with kept_in(tmp_path, Clock()) as kept:
        assert files_in(tmp_path) == 0
        assert await kept.find(["a"]) is None
        await kept.put(["a"], "", result(tmp_path, "a", b"y"))
        assert await kept.find(["a"]) is not None


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "results.sqlite3").write_bytes(b"no database" * 100)
    with pytest.raises(OSError, match="remove it") as raised:
        KeptResults(tmp_path, 1, 1, 1.0)
    assert not isinstance(raised.value, sqlite3.Error)


async def test_a_table_of_another_version_goes(tmp_path: Path) -> None:
    with kept_in(tmp_path, Clock()) as kept:
        await kept.put(["a"], "", result(tmp_path, "a", b"x"))
    with closing(sqlite3.connect(tmp_path / "results.sqlite3")) as database:
        database.execute("ALTER TABLE results DROP COLUMN refusal")
        database.execute("PRAGMA user_version = 0")
    with kept_in(tmp_path, Clock()) as kept:
        assert await kept.find(["a"]) is None
        assert files_in(tmp_path) == 0
        await kept.put(["a"], "", replace(result(tmp_path, "a"), refusal="no"))
    with kept_in(tmp_path, Clock()) as kept:
        found = await kept.find(["a"])
        assert found is not None
        assert found.refusal == "no"
