"""The outbox of a camera: what is in it outlives everything, and what goes first when it is full."""

import re
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from snyper.cameras.outbox import MIN_BYTES, Item, Outbox
from snyper.device.errors import OutboxLocked

PICTURE = bytes(range(256)) * 400
ALL = (0, 2**62)


def added(outbox: Outbox, name: str, pictures: int = 1, size: int = len(PICTURE), text: str = "") -> int:
    content = (PICTURE * (size // len(PICTURE) + 1))[:size]
    return outbox.add("detection", name, {"plate": name + text}, [("annotated_image", content)] * pictures)


def fill(path: Path) -> None:
    """Have a file take all that is left of its disk."""
    with suppress(OSError), path.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(4_096))


def names(outbox: Outbox) -> list[str]:
    return [item.id for item in outbox.take(*ALL, 10_000, 1 << 40)]


def test_what_is_added_is_there_after_a_restart(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "folder" / "outbox")
    assert [added(outbox, name) for name in "abc"] == [1, 2, 3]
    outbox.close()
    outbox = Outbox(tmp_path / "folder" / "outbox")
    first, *_ = outbox.take(*ALL, 10, 1)
    assert (first.seq, first.id, first.kind, first.body) == (1, "a", "detection", {"plate": "a"})
    assert list(first.pictures) == [("annotated_image", PICTURE)]
    assert outbox.last_seq == 3
    outbox.conclude([1, 2, 3], {})
    outbox.close()
    outbox = Outbox(tmp_path / "folder" / "outbox")
    assert added(outbox, "d") == 4  # no number is used again, or it would be of what was told
    assert outbox.counts() == (1, 0, 3, 0, 0)


def test_what_is_taken_is_bounded(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    for name in "abcdef":
        added(outbox, name)
    assert [item.id for item in outbox.take(*ALL, 2, 1 << 40)] == ["a", "b"]
    assert [item.id for item in outbox.take(*ALL, 10, 2 * len(PICTURE) + 100)] == ["a", "b"]
    assert [item.id for item in outbox.take(*ALL, 10, 1)] == ["a"]
    assert [item.id for item in outbox.take(3, 4, 10, 1 << 40)] == ["c", "d"]
    assert outbox.take(7, 9, 10, 1 << 40) == []


def test_what_is_refused_is_set_aside_and_blocks_nobody(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox")
    for name in "abc":
        added(outbox, name)
    outbox.conclude([1], {2: "no such camera"})
    assert names(outbox) == ["c"]
    [aside] = outbox.set_aside()
    assert (aside.id, aside.reason) == ("b", "no such camera")
    assert outbox.counts() == (1, 1, 1, 0, 0)
    assert outbox.try_again() == 1
    assert names(outbox) == ["b", "c"]
    assert outbox.take(*ALL, 1, 1)[0].pictures


def test_the_oldest_pictures_go_first_and_records_last(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", MIN_BYTES)
    for number in range(100):
        added(outbox, f"{number:03}")
    waiting = outbox.take(*ALL, 1_000, 1 << 40)
    assert [item.id for item in waiting] == [f"{number:03}" for number in range(100)]
    with_picture = [bool(item.pictures) for item in waiting]
    kept = sum(with_picture)
    assert with_picture == [False] * (100 - kept) + [True] * kept
    assert kept >= 6
    assert outbox.counts() == (100, 0, 0, 100 - kept, 0)
    text = "x" * 10_000
    for number in range(200):
        outbox.add("health", f"h{number}", {"message": text})
    counts = outbox.counts()
    assert counts.dropped_pictures == 100  # before any record
    assert counts.dropped_records > 100
    assert counts.waiting + counts.dropped_records == 300
    assert names(outbox)[-1] == "h199"
    outbox.close()
    size = sum(path.stat().st_size for path in tmp_path.iterdir() if "wal" not in path.name)
    assert size <= MIN_BYTES + (1 << 20)


def test_a_picture_that_is_too_large_for_all_of_it(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", MIN_BYTES)
    added(outbox, "a")
    added(outbox, "b", size=2 * MIN_BYTES)
    a, b = outbox.take(*ALL, 10, 1 << 40)
    assert (bool(a.pictures), bool(b.pictures)) == (True, False)
    assert outbox.counts().dropped_pictures == 1


def test_what_was_told_when_it_had_been_dropped_is_no_loss(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "outbox", MIN_BYTES)
    text = "x" * 30_000
    for number in range(60):
        outbox.add("health", str(number), {"message": text})
    lost = outbox.counts().dropped_records
    assert lost > 0
    outbox.conclude([lost], {})  # which was under way
    assert outbox.counts().dropped_records == lost - 1
    assert outbox.counts().sent == 1


def test_a_full_disk(small_disk: Path) -> None:
    """Others have filled it: what is older makes way, and it takes all again when there is room."""
    outbox = Outbox(small_disk / "outbox")
    for number in range(20):
        added(outbox, f"{number:03}")
    filler = small_disk / "filler"
    fill(filler)
    for number in range(20, 60):
        added(outbox, f"{number:03}")
    dropped = outbox.counts()
    assert (dropped.waiting, dropped.dropped_records) == (60, 0)
    assert dropped.dropped_pictures >= 30
    for number in range(60, 260):
        added(outbox, f"{number:03}", pictures=0, text="x" * 40_000)
    counts = outbox.counts()
    assert counts.dropped_records > 0
    assert counts.dropped_pictures == 60
    assert names(outbox) == [f"{number:03}" for number in range(counts.dropped_records, 260)]
    outbox.close()
    outbox = Outbox(small_disk / "outbox")
    added(outbox, "260", pictures=0)
    fill(filler)
    while outbox.counts().waiting > 20:  # what is told makes room, though the disk has none
        outbox.conclude([item.seq for item in outbox.take(*ALL, 16, 1 << 40)], {})
    counts = outbox.counts()
    filler.unlink()
    added(outbox, "last")
    assert names(outbox)[-1] == "last"
    assert outbox.take(outbox.last_seq, outbox.last_seq, 1, 1)[0].pictures
    outbox.close()
    outbox = Outbox(small_disk / "outbox")
    assert outbox.counts().waiting == counts.waiting + 1


def test_large_pictures_that_fill_the_disk(small_disk: Path) -> None:
    """What is told makes room, many pictures at once."""
    outbox = Outbox(small_disk / "outbox")
    for number in range(60):
        added(outbox, f"{number}", size=300_000)
    items = outbox.take(*ALL, 60, 1 << 40)
    with_pictures = [item.seq for item in items if item.pictures]
    assert len(with_pictures) > 12
    outbox.conclude(with_pictures, {})
    assert outbox.counts()[:3] == (60 - len(with_pictures), 0, len(with_pictures))


def test_two_processes(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    added(outbox, "a")
    program = "import sys; from snyper.cameras.outbox import Outbox; Outbox(sys.argv[1])"
    arguments = [sys.executable, "-c", program, str(path)]
    other = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert other.returncode == 1
    said = other.stderr.splitlines()[-1]
    assert said.endswith(f"OutboxLocked: another process has the outbox {path}: end it, or name another file")
    with pytest.raises(OutboxLocked, match="another process"):
        Outbox(path)
    added(outbox, "b")
    outbox.close()
    assert subprocess.run(arguments, capture_output=True, check=False).returncode == 0
    assert names(Outbox(path)) == ["a", "b"]


def test_a_damaged_file_is_put_beside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "outbox"
    path.write_bytes(b"no database at all, but long enough to be looked at as one" * 100)
    outbox = Outbox(path)
    assert "is damaged" in caplog.text
    assert added(outbox, "a") == 1
    [beside] = tmp_path.glob("outbox.damaged-*")
    assert beside.read_bytes()[:11] == b"no database"
    assert "0 things that waited in it could be read" in caplog.text
    assert f"they are in {beside} alone, and lost unless somebody repairs that" in caplog.text


def test_what_is_damaged_later_costs_only_what_is_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All before and after it is told, in its order, under its number."""
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    all_of_them = [f"{number:03}" for number in range(300)]
    for name in all_of_them:
        added(outbox, name, text="x" * 3_000)
    outbox.conclude([1], {2: "no"})
    outbox.close()
    with path.open("r+b") as file:
        for page in range(path.stat().st_size // 4_096 // 2, path.stat().st_size // 4_096 // 2 + 8):
            file.seek(page * 4_096)
            file.write(b"\xee" * 4_096)
    outbox = Outbox(path)
    found: list[Item] = []
    while more := outbox.take(found[-1].seq + 1 if found else 0, 1 << 62, 16, 1 << 20):
        found += more
    left = [item.id for item in found]
    assert left == sorted(left)
    assert set(all_of_them[2:50] + all_of_them[-50:]) <= set(left)
    assert len(left) > 270
    assert all(item.seq == int(item.id) + 1 for item in found)
    assert [one.reason for one in outbox.set_aside()] == ["no"]
    assert outbox.counts()[:3] == (len(left), 1, 1)
    assert added(outbox, "new") == 301
    assert "is damaged" in caplog.text
    assert len(list(tmp_path.glob("outbox.damaged-*"))) >= 1


@pytest.mark.parametrize(
    ("name", "damaged"),
    [
        (b"content BLOB", b"cOntens BLOB"),
        (b"seq INTEGER PRIMARY", b"seq\xb3INTEGER PRIMARY"),
        (b"ON items", b"ON it\xf5ms"),
        (b"id TEXT", b"Kd TEXT"),
    ],
)
def test_a_name_that_is_damaged(tmp_path: Path, name: bytes, damaged: bytes) -> None:
    """What cannot be asked of a file has it put beside, as does one of an unknown form."""
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    added(outbox, "a")
    outbox.close()
    content = path.read_bytes()
    assert name in content
    path.write_bytes(content.replace(name, damaged))
    for number in range(2):
        outbox = Outbox(path)
        added(outbox, str(number))
        assert names(outbox)[-1] == str(number)
        outbox.conclude([item.seq for item in outbox.take(*ALL, 10, 1 << 40)], {})
        assert outbox.counts().waiting == 0
        outbox.close()
        with path.open("r+b") as file:
            file.seek(47)
            file.write(b"\xff")
    assert len(list(tmp_path.glob("outbox.damaged-*"))) == 2


def test_an_item_that_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    outbox = Outbox(path)
    for name in "abcd":
        added(outbox, name)
    outbox.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE items SET body = '{' WHERE id = 'b'")
        database.execute("UPDATE items SET body = CAST(X'22FF22' AS TEXT) WHERE id = 'd'")
    database.close()
    outbox = Outbox(path)
    assert names(outbox) == ["a", "c"]
    assert added(outbox, "e") == 5


def test_a_bit_that_is_flipped_anywhere_in_an_item_blocks_no_other(tmp_path: Path) -> None:
    """Whatever kind of value that makes of it, or whose id: the others are told, in their order."""
    outbox = Outbox(tmp_path / "outbox")
    for number in range(20):
        added(outbox, str(number), pictures=number % 2, size=500)
    outbox.close()
    content = (tmp_path / "outbox").read_bytes()
    begins = [found.start() for found in re.finditer(rb'{"plate": "', content)]
    # What kinds of values there are, id and kind.
    heads = [place for begin in begins for place in range(begin - 20, begin)]
    for number, place in enumerate(heads[::7]):
        folder = tmp_path / str(number)
        folder.mkdir()
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        (folder / "outbox").write_bytes(damaged)
        outbox = Outbox(folder / "outbox")
        found: list[Item] = []
        while more := outbox.take(*ALL, 16, 1 << 20):
            found += more
            outbox.conclude([item.seq for item in more], {})
        plates = [int(item.body["plate"]) for item in found if item.body.get("plate", "").isdecimal()]
        assert plates == sorted(plates), place
        assert len(plates) >= 10, place
        outbox.close()


def test_a_place_where_nothing_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="file"):
        Outbox(tmp_path / "file" / "outbox")
    with pytest.raises(OSError, match="cannot be opened"):
        Outbox(tmp_path / "folder")
    with pytest.raises(ValueError, match="at least"):
        Outbox(tmp_path / "outbox", 10)


def test_killed_at_any_moment(tmp_path: Path) -> None:
    """Whatever was said to be in it is."""
    program = (
        "import sys; from snyper.cameras.outbox import Outbox; outbox = Outbox(sys.argv[1])\n"
        "for number in range(outbox.last_seq, 10**9):\n"
        "    outbox.add('detection', str(number), {}, [('annotated_image', bytes(50_000))])\n"
        "    print(number, flush=True)\n"
    )
    said = -1
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "outbox")], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            for _ in range(7):
                said = int(process.stdout.readline())
            process.kill()
            said = max([said, *map(int, process.stdout.read().split())])
        outbox = Outbox(tmp_path / "outbox")
        assert names(outbox)[: said + 1] == [str(number) for number in range(said + 1)]
        assert outbox.last_seq <= said + 2
        outbox.close()
