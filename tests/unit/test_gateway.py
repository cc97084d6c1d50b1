"""A gateway of several faces, and who is let in to each."""

from http import HTTPStatus
from typing import Any

import httpx
import pytest

from snyper.device.serving.exchange import Exchange, Refusal
from snyper.gateway.app import Gateway
from snyper.gateway.limits import LIMITS
from snyper.gateway.service_routes import services_app
from snyper.gateway.web_socket import WebSocket
from snyper.system.limits import complete_limits


def gateway_of(**keys: str) -> Gateway:
    return Gateway(complete_limits(LIMITS, ()), keys)


def client_of(gateway: Gateway) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(gateway), base_url="http://127.0.0.1")


async def test_faces_tell_of_themselves_side_by_side() -> None:
    gateway = gateway_of()
    is_there = False

    async def ready() -> dict[str, object]:
        if not is_there:
            raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "there is no hub")
        return {"targets": ["target_1"]}

    async def path(exchange: Exchange) -> None:
        await exchange.answer_json(exchange.path_values)

    async with client_of(gateway) as client:
        assert (await client.get("/health")).json() == (await client.get("/ready")).json() == {"status": "ok"}
        gateway.add_state(lambda: {"received": 2})
        gateway.add_state(lambda: {"hub": "here"}, ready)
        gateway.add("GET", "/arrays/{name}", path)
        assert (await client.get("/health")).json() == {"status": "ok", "received": 2, "hub": "here"}
        refused = await client.get("/ready")
        assert (refused.status_code, refused.json()) == (503, {"detail": "there is no hub"})
        is_there = True
        assert (await client.get("/ready")).json() == {"status": "ok", "targets": ["target_1"]}
        assert (await client.get("/arrays/a")).json() == {"name": "a"}


async def test_who_brings_no_key_hears_no_more_than_that_it_serves() -> None:
    async def ready() -> dict[str, object]:
        return {"targets": ["target_1"]}

    gateway = gateway_of(key="right words")
    gateway.add_state(lambda: {"hub": "here"}, ready)
    async with client_of(gateway) as client:
        for path, more in (("/health", {"hub": "here"}), ("/ready", {"targets": ["target_1"]})):
            assert (await client.get(path)).json() == {"status": "ok"}
            known = await client.get(path, headers={"authorization": "Bearer right words"})
            assert known.json() == {"status": "ok", **more}
            wrong = await client.get(path, headers={"authorization": "Bearer wrong"})
            assert wrong.status_code == 401


@pytest.mark.parametrize(
    ("key", "keys", "status"), [("words", None, 401), ("words", {}, 404), ("", None, 404)]
)
async def test_an_application_asks_for_the_key_of_the_environment(
    key: str, keys: dict[str, str] | None, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNYPER_SERVICE_KEY", key)
    async with client_of(services_app("services.py", keys=keys)) as client:
        assert (await client.post("/api/nothing")).status_code == status


def test_every_face_drains() -> None:
    gateway, drained = gateway_of(), list[str]()
    gateway.on_drain(lambda: drained.append("jobs"))
    gateway.on_drain(lambda: drained.append("uploads"))
    gateway.drain()
    assert drained == ["jobs", "uploads"]


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, 401),
        ({"authorization": "Bearer words"}, "websocket.accept"),
        ({"origin": "http://elsewhere"}, 403),
    ],
    ids=["without a key", "with the key", "from a page of another site"],
)
async def test_a_web_socket_needs_the_key_too(headers: dict[str, str], said: object) -> None:
    async def accept(web_socket: WebSocket) -> None:
        await web_socket.accept()

    gateway = gateway_of(fleet="words")
    gateway.add_web_socket("/frames", accept)
    scope = {
        "type": "websocket",
        "path": "/frames",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("192.0.2.1", 1234),
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    await gateway(scope, receive, send)
    assert sent[0].get("status", sent[0]["type"]) == said


@pytest.mark.parametrize(
    ("host", "is_answered"),
    [
        ("127.0.0.1:8000", True),
        ("[::1]:8000", True),
        ("192.168.6.1", True),
        ("localhost:8000", True),
        ("range", True),
        ("Range.Local:8000", True),
        ("range.lan.", True),
        ("lab.example:8000", True),
        ("evil.example:8000", False),
        ("127.0.0.1.evil.example", False),
        ("local.evil.example", False),
        ("evil.example.", False),
        ("[::1", False),
    ],
)
async def test_without_a_key_it_answers_to_no_name_that_a_stranger_may_have_had_point_here(
    host: str, is_answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SNYPER_HOST_NAMES", "Lab.example, other.example")
    for gateway, is_let_in in ((gateway_of(), is_answered), (gateway_of(fleet="words"), True)):
        async with client_of(gateway) as client:
            answer = await client.get("/health", headers={"host": host})
            assert (answer.status_code, "SNYPER_HOST_NAMES" in answer.text) == (
                (200, False) if is_let_in else (403, True)
            )
