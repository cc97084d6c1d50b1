"""What the dashboard says of a gateway that does not answer as one with cameras."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("nicegui", reason="no NiceGUI here: pip install 'snyper[dashboard]'")

from snyper.dashboard import camera_faces as faces, camera_gateway
from snyper.dashboard.camera_gateway import CameraGateway, GatewayFailed


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[str]:
    """Serve this answer to each request, or none and keep silent; yield the URL."""
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await ended.wait()
        else:
            writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
    finally:
        ended.set()
        server.close()
        await server.wait_closed()


def http(status: str, body: object) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\n\r\n".encode() + content


@pytest.mark.parametrize(
    ("key", "answer", "words"),
    [
        ("", http("401 Unauthorized", {"detail": "no"}), "it wants a key: start the dashboard with one"),
        ("wrong key", http("401 Unauthorized", {}), "it refuses the key in SNYPER_SERVICE_KEY"),
        ("", http("403 Forbidden", {"message": "may not\u202e watch"}), "may not watch"),
        ("", http("404 Not Found", b"<html>"), "it answers 404"),
        ("", http("302 Found", b""), "it answers 302"),
        ("", http("200 OK", b"[1]"), "what it answers has no sense"),
        ("", http("200 OK", b"[" * 100_000), "what it answers has no sense"),
        ("", http("200 OK", b" " * 2_000), "what it answers is too long"),
        ("", b"220 mail.example\r\n\r\n", "the connection broke off"),
        ("", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "the connection broke off"),
        ("", None, "it does not answer within"),
    ],
)
async def test_what_is_wrong_is_said_in_a_clause(
    key: str, answer: bytes | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNYPER_SERVICE_KEY", key)
    monkeypatch.setattr(camera_gateway, "TIMEOUT_S", 0.5 if answer is None else 20.0)
    monkeypatch.setattr(camera_gateway, "_MOST_BYTES", 1_000 if "long" in words else 1_000_000)
    async with answering(answer) as url:
        gateway = CameraGateway(url)
        with pytest.raises(GatewayFailed, match=f"^{words}"):
            await gateway.get("/api/cameras")
        await gateway.close()


async def test_nobody_there() -> None:
    async with answering(b"") as url:
        gateway = CameraGateway(url)
    with pytest.raises(GatewayFailed, match=r"^nobody answers there$"):
        await gateway.get("/api/cameras")
    await gateway.close()


@pytest.mark.parametrize(
    "link",
    [
        None,
        7,
        "https://evil.example/x.jpg",
        "/api/pictures/../keys",
        "/api/pictures/a b",
        "javascript:alert(1)",
    ],
)
def test_only_a_picture_of_the_gateway_is_shown(link: object) -> None:
    assert faces.picture(link) is None
    assert faces.picture("/api/pictures/2026120201/ab.jpg") == "/cameras/pictures/2026120201/ab.jpg"


@pytest.mark.parametrize(
    "said", [{}, {"ocr_results": {}, "cropped_plates": 3, "timestamp": [], "bbox": None}]
)
def test_nonsense_has_a_face(said: dict[str, object]) -> None:
    box = {"bbox": [1, 2, float("nan"), True]}
    assert faces.record_face({**said, "vehicle_detections": [box, None, "x"]})["boxes"] == []
    camera = faces.camera_face({"warnings": "no", "age_s": "9999-99-99", **said}, 5.0)
    assert (camera["warnings"], camera["seen_s"]) == ([], None)
    assert faces.visit_face(said)["plates"] == [""]
    assert faces.counts([{"from": "2026-12-01T00:00:00Z", "detections": 1e400}, 3]) != {}


def test_a_rule_in_words() -> None:
    when: dict[str, object] = {
        "class": "person",
        "camera": None,
        "min_confidence": 0.6,
        "for_frames": 3,
        "x": {},
    }
    assert faces.rule_words({"when": when}) == "class person, min confidence 0.6, for frames 3"
    assert faces.rule_words({"when": "no"}) == ""


@pytest.mark.parametrize(("times", "words"), [(1_000, ", 1,000 times"), (1, ""), (None, ""), ("2", "")])
def test_how_often_a_rule_was_not_applied(times: object, words: str) -> None:
    assert faces.times_words({"times": times}) == words
