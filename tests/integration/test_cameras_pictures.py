"""Pictures of cameras: judged, kept, made small; whatever may come as one."""

import asyncio
import base64
import io
import os
import signal
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from snyper.cameras.intake import detection_of
from snyper.cameras.pictures import MAX_PIXELS, NotAPicture, decode, judge
from snyper.cameras.records import Picture, RecordQuery
from snyper.cameras.service import Cameras, opened
from snyper.system.files import others_access
from tests.integration.camera_bodies import NAMES, jpeg, png


@pytest.fixture
async def cameras(tmp_path: Path) -> AsyncIterator[Cameras]:
    async with opened(tmp_path / "cameras") as found:
        yield found


async def keep(cameras: Cameras, picture: str | bytes) -> tuple[Picture | None, tuple[str, ...]]:
    answer = await cameras.detect(detection_of({**NAMES, "annotated_image": picture}))
    return (await cameras.records(RecordQuery(limit=1))).records[0].picture, answer.warnings


def drawn(kind: str, size: tuple[int, int] = (1_280, 720)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "navy").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_a_thumbnail_is_made(cameras: Cameras, kind: str) -> None:
    picture, warnings = await keep(cameras, drawn(kind))
    assert picture is not None
    assert (picture.width, picture.height, warnings) == (1_280, 720, ())
    path = await cameras.thumbnail(picture.name)
    assert path is not None
    with Image.open(path) as small:
        assert (small.size, small.format) == ((320, 180), "JPEG")


async def test_pictures_are_their_owner_s_alone(tmp_path: Path) -> None:
    old_umask = os.umask(0o022)
    try:
        (tmp_path / "cameras" / "pictures").mkdir(parents=True, mode=0o755)  # as an earlier version left it
        async with opened(tmp_path / "cameras") as cameras:
            picture, _ = await keep(cameras, drawn("PNG"))
            assert picture is not None
            assert await cameras.thumbnail(picture.name) is not None
        found = list((tmp_path / "cameras").rglob("*"))
    finally:
        os.umask(old_umask)
    assert {one.suffix for one in found} >= {".jpg", ".png", ".db"}
    assert [str(one) for one in found if others_access(one)] == []


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
async def test_half_a_picture_has_a_thumbnail_of_that_half(cameras: Cameras, kind: str) -> None:
    file = io.BytesIO()
    Image.effect_noise((640, 480), 90).save(file, kind)
    half = file.getvalue()[: len(file.getvalue()) // 2]
    picture, warnings = await keep(cameras, half)
    assert (picture is not None, warnings) == (True, ())
    assert picture is not None
    path = await cameras.thumbnail(picture.name)
    assert path is not None
    with Image.open(path) as small:
        boxes = ((0, 0, 320, 100), (0, 140, 320, 240))
        upper, lower = (len(set(small.crop(box).convert("L").tobytes())) for box in boxes)
    assert upper > 50 > lower  # shades
    whole = cameras.picture(picture.name)
    assert whole is not None
    assert whole.read_bytes() == half


async def test_what_cannot_be_decoded_costs_nobody_else_a_thumbnail(cameras: Cameras) -> None:
    bad, _ = await keep(cameras, jpeg("no picture"))
    good, _ = await keep(cameras, png(40, 30))
    assert bad is not None
    assert good is not None
    assert await cameras.thumbnail(bad.name) is None
    assert await cameras.thumbnail(good.name) is not None
    for name in ("", "../cameras.db", "2026120122/../../cameras.db", "2026120122/" + "0" * 64 + ".jpg"):
        assert await cameras.thumbnail(name) is None
    process = cameras._thumbnails._process
    assert process is not None
    process.kill()
    await process.wait()
    other, _ = await keep(cameras, png(41, 30))
    assert other is not None
    assert await cameras.thumbnail(other.name) is not None


async def test_who_dies_over_one_of_several_thumbnails_costs_none_of_the_others(cameras: Cameras) -> None:
    first, _ = await keep(cameras, png(40, 30))
    assert first is not None
    await cameras.thumbnail(first.name)
    process, turn = cameras._thumbnails._process, cameras._thumbnails._turn
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    async with turn:
        kept = [await keep(cameras, png(41 + number, 30)) for number in range(3)]
    while not turn.locked():  # noqa: ASYNC110 (the very step is wanted)
        await asyncio.sleep(0)
    process.kill()  # with all three handed over
    for picture, _ in kept:
        assert picture is not None
        assert await cameras.thumbnail(picture.name) is not None


async def test_an_erased_plate_has_no_thumbnail(cameras: Cameras, tmp_path: Path) -> None:
    await cameras.detect(detection_of({**NAMES, "ocr_results": ["ABC 1"], "annotated_image": png(9, 9)}))
    [record] = (await cameras.records(RecordQuery())).records
    assert record.picture is not None
    path = await cameras.thumbnail(record.picture.name)
    assert path is not None
    orphan = path.with_name("0" * 64 + ".jpg")
    theirs = path.with_name("holiday.jpg")
    for one in (orphan, theirs):
        one.write_bytes(b"")
    found = [f"thumbnails/{path.parent.name}/{orphan.name}"]
    assert (await cameras.check(repairs=True)).orphans == found
    theirs.unlink()
    assert path.exists()
    await cameras.erase_plate("abc1")
    assert [one for one in (tmp_path / "cameras" / "thumbnails").rglob("*") if one.is_file()] == []


def test_every_spelling_of_base64() -> None:
    content = png(7, 5)
    text = base64.b64encode(content).decode()
    wrapped = base64.encodebytes(content).decode()
    for sent in (
        content,
        text,
        wrapped,
        text.rstrip("="),
        f"data:image/png;base64,{text}",
        f"DATA:image/PNG;BASE64,{text}",
        f" {text}\n",
    ):
        assert decode(sent) == content
    for sent in (
        "base64_encoded_image_data",
        "data:image/png;base64",
        "data:" + "x" * 10_000,
        "กข",
        "\ud800",
    ):
        with pytest.raises(NotAPicture):
            decode(sent)


def bomb(width: int, height: int) -> bytes:
    """Return a PNG's head that promises so many pixels."""
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + b"IHDR"
        + struct.pack(">II", width, height)
        + b"\x08\0\0\0\0"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "neither"),
        (b"GIF89a" + bytes(100), "neither"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "neither"),
        (b"\xff\xd8\xff", "neither"),
        (b"\xff\xd8\xff\xe0\xff\xff", "neither"),
        (b"\xff\xd8\xff\xda" + bytes(50), "neither"),
        (b"\xff\xd8" + b"\xff" * 100_000, "neither"),
        (b"\xff\xd8" + b"\xff\xe0\0\2" * 100_000, "neither"),
        (b"\x89PNG\r\n\x1a\n", "neither"),
        (b"RIFF\0\0\0\0WEBPVP8X", "neither"),
        (bomb(100_000, 100_000), "pixels"),
        (bomb(0, 5), "pixels"),
        (bomb(2**31, 1), "pixels"),
        (png() + bytes(12_000_000), "bytes"),
    ],
)
async def test_what_is_no_picture_costs_a_warning(cameras: Cameras, content: bytes, why: str) -> None:
    with pytest.raises(NotAPicture, match=why):
        judge(content)
    kept, warnings = await keep(cameras, content) if content else (None, (why,))
    assert kept is None
    assert len(warnings) == 1
    assert why in warnings[0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_head_says_what_pillow_says(kind: str) -> None:
    for size in ((1, 1), (640, 480), (17, 4_001)):
        head = judge(drawn(kind, size))
        assert (head.width, head.height) == size
    with io.BytesIO() as file:  # lossless, another head
        Image.new("RGBA", (33, 44)).save(file, "WEBP", lossless=True)
        assert (judge(file.getvalue()).width, judge(file.getvalue()).height) == (33, 44)
    assert MAX_PIXELS < Image.MAX_IMAGE_PIXELS  # type: ignore[operator]
