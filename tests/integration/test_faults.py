"""Peers that hang, vanish, reset, babble and flood: what they are told, and that nobody else notices."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from snyper.shared.socket_protocol import MAX_INTEGER, MAX_LINE_BYTES, SocketMessage
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    OBEDIENT,
    HubUnderTest,
    Message,
    Peer,
    at_length,
    console_of,
    each_body,
    each_engine,
    free_port,
    linux_only,
    needs_micropython,
    peer_of,
    registration,
    resident_kb,
    running_hub,
    scripted_hub,
    scripted_target,
    slowest_answer,
    snyper,
    until,
    until_connected,
    virtual_target,
)
from tests.integration.stopwatch import running_s

GARBAGE = {
    "words": b"stand up!\n",
    "half an object": b'{"type": "ping", "id": 1\n',
    "two objects": b'{"type":"ping","id":1}{"type":"ping","id":2}\n',
    "zeros": b"\0" * 100 + b"\n",
    "noise": bytes(byte for byte in range(256) if byte != 10) + b"\n",
    "an overlong form": b'{"type":"ping","id":"\xc0\xaf"}\n',
    "a surrogate": b'{"type":"ping","id":"\xed\xa0\x80"}\n',
    "half a character": b'{"type":"ping","id":"\xe2\x82"}\n',
    "deep": b"[" * 2000 + b"]" * 2000 + b"\n",
}
NOT_MESSAGES: dict[str, bytes] = {
    "a number": b"42\n",
    "a list": b'[{"type":"ping","id":1}]\n',
    "no type": b'{"id":1}\n',
    "a type that is a number": b'{"type":7,"id":1}\n',
    "no id": b'{"type":"ping"}\n',
    "an id that is null": b'{"type":"ping","id":null}\n',
    "an id that is too long": b'{"type":"ping","id":"' + b"x" * 65 + b'"}\n',
    "a target_id with a space": b'{"type":"ping","id":1,"target_id":"a b"}\n',
    "data that is a list": b'{"type":"ping","id":1,"data":[]}\n',
    "a big number": b'{"type":"ping","id":1,"data":{"n":9007199254740992}}\n',
    # A lone surrogate is a character to a JSON reader, and can be sent to nobody.
    "a surrogate in the id": b'{"type":"ping","id":"\\ud800"}\n',
    "surrogates in a long id": b'{"type":"ping","id":"' + b"\\udfff" * 64 + b'"}\n',
    "a surrogate in the id of an error": b'{"type":"error","id":"\\ud800"}\n',
    "a surrogate in the type": b'{"type":"\\ud800","id":1}\n',
    "a surrogate in target_id": b'{"type":"ping","id":1,"target_id":"\\ud800"}\n',
    "a surrogate in status": b'{"type":"ping","id":1,"status":"\\ud800"}\n',
    "a surrogate in a key": b'{"type":"ping","id":1,"\\ud800":1}\n',
    "a surrogate in a key of data": b'{"type":"ping","id":1,"data":{"\\ud800":1}}\n',
    "a surrogate deep in data": b'{"type":"ping","id":1,"data":{"a":[{"b":"\\ud800"}]}}\n',
    "surrogates everywhere": b'{"type":"\\ud800","id":"\\ud800","data":{"\\ud800":"\\ud800"}}\n',
    "a key that stands twice": b'{"type":"ping","id":"\\ud800","id":"\\ud800"}\n',
    "an id that is a fraction": b'{"type":"ping","id":1.5}\n',
    "an id that is true": b'{"type":"ping","id":true}\n',
    "an id that is an object": b'{"type":"ping","id":{"a":"\\ud800"}}\n',
    "an id that is a huge number": b'{"type":"ping","id":' + b"9" * 4_000 + b"}\n",
    "an id beyond all numbers": b'{"type":"ping","id":1e999}\n',
    "an empty id": b'{"type":"ping","id":""}\n',
    "the longest id that a line takes": b'{"type":"ping","id":"' + b"\x7f" * 4_070 + b'"}\n',
    "a number beyond all numbers": b'{"type":"ping","id":1,"data":{"n":-1e999}}\n',
    "deep data": b'{"type":"ping","id":1,"data":' + b'{"a":' * 9 + b"1" + b"}" * 9 + b"}\n",
}


# A board may have no memory for these.
GREEDY = ("deep", "an id that is a huge number", "the longest id that a line takes")


def codes_of(what: str) -> tuple[str, ...]:
    code = "bad_json" if what in GARBAGE else "bad_message"
    return (code, "internal") if what in GREEDY else (code,)


@asynccontextmanager
async def hub_at_work(
    engine: str, directory: Path, max_consoles: int = 3
) -> AsyncIterator[tuple[HubUnderTest, Peer]]:
    """A hub with an obedient target `good` and a console; at the end both must still be served."""
    async with (
        running_hub(engine, directory, 8, max_consoles) as hub,
        scripted_target(hub, "good"),
        console_of(hub) as console,
    ):
        yield hub, console
        assert (await console.ask("stand_up", "good"))["status"] == "standing"


# --- what is malformed costs one error


async def bears_garbage(peer: Peer) -> None:
    """Each malformed line costs the peer one error, alone and all at once, and nothing else is sent."""
    lines = {**GARBAGE, **NOT_MESSAGES}
    for what, line in lines.items():
        await peer.send(line)
        error = await peer.expect("error", status="error")
        assert error["data"]["code"] in codes_of(what), what
        assert error["data"]["message"]
    await peer.send(*lines.values())
    for what in lines:
        assert (await peer.expect("error"))["data"]["code"] in codes_of(what), what


@each_engine
@pytest.mark.parametrize("role", ["console", "target"])
async def test_garbage_costs_one_error_each(engine: str, role: str, tmp_path: Path) -> None:
    async with hub_at_work(engine, tmp_path) as (hub, console), peer_of(hub) as peer:
        await bears_garbage(peer)
        name = "babbler" if role == "target" else None
        assert (await peer.ask("register", name, role=role))["status"] == "registered"
        await bears_garbage(peer)
        await peer.send({"type": "ping", "id": "after"})
        await peer.expect("pong", id="after")
        assert (await console.ask("ping", "good"))["status"] == "alive"


@each_engine
async def test_an_error_has_the_id_where_it_could_be_read(engine: str, tmp_path: Path) -> None:
    async with hub_at_work(engine, tmp_path) as (hub, _), console_of(hub) as peer:
        await peer.send(b'{"type":"ping","id":"mine","data":7}\n')
        await peer.expect_error("bad_message", id="mine")
        await peer.send(b'{"type":"dance","id":"mine too"}\n')
        await peer.expect_error("unknown_type", id="mine too")
        await peer.send({"type": "hit", "id": 5})  # a type of the wire, but not for a console
        await peer.expect_error("unknown_type", id=5)


@each_engine
async def test_a_line_that_is_too_long_ends_the_connection(engine: str, tmp_path: Path) -> None:
    head, tail = b'{"type":"ping","id":1,"data":{"x":"', b'"}}\n'
    for size, ends in ((MAX_LINE_BYTES, True), (20 * MAX_LINE_BYTES, False)):
        async with hub_at_work(engine, tmp_path / str(size)) as (hub, _), console_of(hub) as peer:
            await peer.send(head + b"x" * (MAX_LINE_BYTES - len(head) - len(tail)) + tail)
            await peer.expect("pong", id=1)  # exactly the limit
            await peer.send(b"x" * size + (b"\n" if ends else b""))
            await peer.expect_error("line_too_long")
            began_s = running_s()
            await peer.end()
            assert running_s() - began_s < 3.0  # the hub hangs up by itself
            assert len(peer.received) == 3  # registered, pong, error: nothing after it was looked at


@each_engine
@pytest.mark.parametrize("role", [None, "console", "target"])
async def test_the_head_of_an_http_request_ends_the_connection(
    engine: str, role: str | None, tmp_path: Path
) -> None:
    async with hub_at_work(engine, tmp_path) as (hub, _), peer_of(hub) as peer:
        if role is not None:
            name = "browsed" if role == "target" else None
            assert (await peer.ask("register", name, role=role))["status"] == "registered"
        told = len(peer.received)
        body = {"type": "register", "id": 1, "data": {"role": "console"}}
        await peer.send(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", body, {"type": "list_games", "id": 2})
        await peer.expect_error("unsupported")
        began_s = running_s()
        await peer.end()
        assert running_s() - began_s < 3.0  # the hub hangs up by itself
        assert len(peer.received) == told + 1  # nothing after it was looked at


@each_engine
async def test_half_a_line_then_the_end(engine: str, tmp_path: Path) -> None:
    async with hub_at_work(engine, tmp_path) as (hub, console):
        async with console_of(hub) as peer:
            await peer.send(b'{"type":"stand_up","id":1,"target_id":"good"')
            peer.half_close()
            assert await peer.end() == "eof"
            assert [message["type"] for message in peer.received] == ["registered"]
        async with peer_of(hub) as stranger:
            await stranger.send(b"\xff")
            stranger.half_close()
            await stranger.end()
        assert (await console.ask("list_targets"))["status"] == "ok"


@each_engine
async def test_a_line_in_single_bytes(engine: str, tmp_path: Path) -> None:
    async with hub_at_work(engine, tmp_path) as (hub, _), console_of(hub) as peer:
        for byte in b'{"type":"ping","id":"\xc3\xa9"}\r\n':
            await peer.send(bytes([byte]))
            await asyncio.sleep(0)
        await peer.expect("pong", id="é")


@each_engine
async def test_a_refused_registration_is_the_last_word(engine: str, tmp_path: Path) -> None:
    """What comes in one piece with a refused `register` takes no place, a target's or a console's."""
    async with hub_at_work(engine, tmp_path, max_consoles=2) as (hub, console):
        for second in (registration("ghost"), {"type": "register", "id": 2, "data": {"role": "console"}}):
            async with peer_of(hub) as peer:
                await peer.send({"type": "register", "id": 1, "data": {"role": "referee"}}, second)
                await peer.expect_error("unsupported", id=1)
                peer.half_close()
                await peer.end()
        assert (await console.ask("list_targets"))["data"] == {"count": 1}
        async with peer_of(hub) as late:
            assert (await late.ask("register", role="console"))["type"] == "registered"


@each_engine
async def test_a_target_that_says_much_harms_no_console(engine: str, tmp_path: Path) -> None:
    """A report as long as a line may be becomes an event that is longer. Consoles still hear of others."""
    async with hub_at_work(engine, tmp_path) as (hub, _), AsyncExitStack() as stack:
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        talker = await stack.enter_async_context(scripted_target(hub, "talker"))
        await console.event("registered", "talker")
        await talker.send(line_of(MAX_LINE_BYTES, b'{"type":"hit","id":1,"data":{"x":"', b'"}}\n'))
        assert (await talker.next())["type"] in ("ack", "error")
        await stack.enter_async_context(scripted_target(hub, "other"))
        assert (await console.event("registered", "other", 3.0))["seq"] >= 2


@each_engine
@pytest.mark.parametrize("max_line_bytes", [1024, MAX_LINE_BYTES])
async def test_a_long_last_word_harms_no_console(engine: str, max_line_bytes: int, tmp_path: Path) -> None:
    """Why a target hangs up becomes an event. A console gets none that is too long for it."""
    async with hub_at_work(engine, tmp_path) as (hub, _), AsyncExitStack() as stack:
        console = await stack.enter_async_context(peer_of(hub))
        await console.ask("register", role="console", max_line_bytes=max_line_bytes)
        await console.ask("subscribe")
        talker = await stack.enter_async_context(scripted_target(hub, "talker"))
        message = "\U0001f3af" * (MAX_LINE_BYTES // 4 - 30)
        error = {"type": "error", "data": {"code": "x" * 40, "message": message}}
        await talker.send(json.dumps(error, ensure_ascii=False).encode() + b"\n")
        talker.half_close()
        await talker.end()
        await stack.enter_async_context(scripted_target(hub, "other"))
        assert (await console.event("registered", "other", 3.0))["seq"] >= 3


@each_engine
@pytest.mark.parametrize("sign", ["x", "\\u0001", "\U0001f3af"])
async def test_a_long_error_harms_no_command_to_many(engine: str, sign: str, tmp_path: Path) -> None:
    async with (
        hub_at_work(engine, tmp_path) as (hub, _),
        peer_of(hub) as console,
        scripted_target(hub, "talker", answers={}, firmware="\x01" * 64, state="\x02" * 64) as talker,
    ):
        await console.ask("register", role="console", max_line_bytes=1024)
        asked = "\x03" * 64
        await console.send({"type": "ping", "id": asked, "target_id": "all"})
        id = (await talker.expect("ping"))["id"].encode()
        head = b'{"type":"error","id":"' + id + b'","data":{"code":"%s","message":"' % (b"\\u0004" * 40)
        text = sign * (2_000 // len(sign.encode()))
        await talker.send(head + text.encode() + b'"}}\n')
        *results, reply = await console.answer_to(asked, 3.0)
        assert {result["target_id"]: result["status"] for result in results} == {
            "good": "alive",
            "talker": "error",
        }
        assert (reply["status"], reply["data"]) == ("partial", {"ok": 1, "failed": 1})
        *targets, reply = await console.answer_to(await console.request("list_targets"), 3.0)
        assert {target["target_id"] for target in targets} == {"good", "talker"}


@each_engine
async def test_an_instant_that_is_none_is_refused_by_every_command(engine: str, tmp_path: Path) -> None:
    """Also by those that are carried out at once: the hub would wait as much longer for the answer."""
    async with hub_at_work(engine, tmp_path) as (_, console):
        for message_type in ("ping", "identify", "configure", "read_log", "stand_up"):
            for wrong in ("soon", 1.5, -1, MAX_INTEGER):
                answer = await console.ask(message_type, "good", at_us=wrong)
                assert answer["type"] == "error", (message_type, wrong)
                assert answer["data"]["code"] == "bad_message", (message_type, wrong)


@each_engine
async def test_a_long_state_harms_no_list(engine: str, tmp_path: Path) -> None:
    async with (
        hub_at_work(engine, tmp_path) as (hub, console),
        scripted_target(hub, "talker", answers={}) as talker,
    ):
        asked = await console.request("ping", "talker")
        id = (await talker.expect("ping"))["id"].encode()
        head = b'{"type":"pong","id":"' + id + b'","status":"alive","data":{"state":"'
        await talker.send(line_of(MAX_LINE_BYTES - 100, head, b'"}}\n'))
        await console.answer_to(asked)
        *targets, reply = await console.answer_to(await console.request("list_targets"), 3.0)
        assert (reply["type"], reply["data"]) == ("targets", {"count": 2})
        assert {target["target_id"] for target in targets} == {"good", "talker"}


@each_engine
async def test_a_long_answer_is_answered(engine: str, tmp_path: Path) -> None:
    """A reply that the hub cannot pass on whole still leaves the console with an answer."""
    async with (
        hub_at_work(engine, tmp_path) as (hub, console),
        scripted_target(hub, "talker", answers={}) as talker,
    ):
        asked = await console.request("ping", "talker")
        id = (await talker.expect("ping"))["id"].encode()
        head = b'{"type":"pong","id":"' + id + b'","status":"alive","data":{"x":"'
        await talker.send(line_of(MAX_LINE_BYTES, head, b'"}}\n'))
        answer = (await console.answer_to(asked, 3.0))[-1]
        assert answer["type"] in ("pong", "error")


@needs_micropython
async def test_a_hub_board_bears_many_long_reports(tmp_path: Path) -> None:
    """The events it keeps would be more than its whole heap, if it kept them as long as they may be."""
    async with hub_at_work("micropython", tmp_path) as (hub, console):
        async with scripted_target(hub, "talker") as talker:
            for id in range(1, 81):
                head = b'{"type":"hit","id":%d,"data":{"x":"' % id
                await talker.send(line_of(MAX_LINE_BYTES - 200, head, b'"}}\n'))
                answer = await talker.next(5.0)
                assert answer["id"] == id
                assert answer.get("data", {}).get("code") != "internal", (id, answer)
        assert (await console.ask("list_targets"))["status"] == "ok"
        assert hub.board is not None
        assert "MemoryError" not in hub.board.log


def line_of(size: int, head: bytes, tail: bytes) -> bytes:
    return head + b"x" * (size - len(head) - len(tail)) + tail


# --- floods


PING = b'{"type":"ping","id":"flood"}\n'
FLOODS = {
    "requests": ({"role": "console"}, PING * 500),
    "commands": ({"role": "console"}, b'{"type":"list_targets","id":"flood"}\n' * 500),
    "garbage": ({"role": "console"}, b"x\n" * 5_000),
    "a target's reports": ({}, b'{"type":"hit","id":"flood"}\n' * 500),
}


async def flood(peer: Peer, data: bytes) -> None:
    """Sends until the hub hangs up."""
    try:
        while True:
            await peer.send(data)
    except OSError:
        return


@pytest.mark.slow
@linux_only
@each_engine
@pytest.mark.long
@pytest.mark.parametrize("kind", at_length(list(FLOODS), ["commands", "a target's reports"]))
async def test_a_peer_that_floods_and_never_reads(
    engine: str, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about, data = FLOODS[kind]
    async with AsyncExitStack() as stack:
        if engine == "cpython":  # in a process of its own, so that its memory is its own
            port = free_port()
            process = await stack.enter_async_context(snyper("hub", "--listen", f"{HOST}:{port}", "--json"))
            await process.listens()
            hub, pid = HubUnderTest(port), process.pid
        else:
            hub = await stack.enter_async_context(running_hub(engine, tmp_path, max_consoles=3))
            assert hub.board is not None
            assert hub.board.pid is not None
            pid = hub.board.pid
        await stack.enter_async_context(scripted_target(hub, "good"))
        console = await stack.enter_async_context(console_of(hub))
        assert (await console.ask("ping", "good"))["status"] == "alive"
        before_kb = resident_kb(pid)
        rude = await stack.enter_async_context(peer_of(hub, reads=False, receive_buffer=4096))
        await rude.send({"type": "register", "id": 0, "target_id": "rude", "data": about})
        began = time.monotonic()
        flooding = asyncio.create_task(flood(rude, data))
        try:
            slowest_s = await asyncio.wait_for(slowest_answer(console, flooding), 30.0)
        finally:
            flooding.cancel()
            await asyncio.gather(flooding, return_exceptions=True)
        grown_kb = resident_kb(pid) - before_kb
        with capsys.disabled():
            print(
                f"\n{engine} hub, flood of {kind}: dropped after {time.monotonic() - began:.1f} s,"
                f" slowest answer to others {slowest_s * 1000:.0f} ms, grown by {grown_kb} kB"
            )
        assert slowest_s < 1.0
        assert grown_kb < 4_096
        assert (await console.ask("stand_up", "all"))["type"] == "standing"


@linux_only  # elsewhere less is known of what has left
async def test_who_reads_slowly_is_kept_and_who_reads_no_more_is_not(tmp_path: Path) -> None:
    """At a rate at which what is under way lasts for much longer than the silence that is borne."""
    loop = asyncio.get_running_loop()
    register = b'{"type":"register","id":1,"data":{"role":"console","heartbeat_ms":600}}\n'
    async with running_hub("cpython", tmp_path) as hub:
        assert hub.hub is not None
        links = hub.hub.links
        with socket.socket() as slow:
            slow.setblocking(False)
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            await loop.sock_connect(slow, (HOST, hub.port))
            await loop.sock_sendall(slow, register)
            await until(lambda: links and not hub.hub.strangers, "it should be registered")  # type: ignore[union-attr]
            while links[0].writable:
                links[0].send_nowait(SocketMessage("event", 2, data={"x": "x" * 3_000}))
            began = time.monotonic()
            while time.monotonic() - began < 4.0:
                assert await loop.sock_recv(slow, 1_024), "it is cut"
                await asyncio.sleep(0.05)
            assert len(links) == 1
            assert not links[0].writable
            await until(lambda: not links, "who does not read should be cut")


# --- targets that hang, vanish and reset


@each_engine
async def test_a_reset_in_the_middle_of_a_command(engine: str, tmp_path: Path) -> None:
    """Whether it was carried out nobody can say, and the answer says just that."""
    async with hub_at_work(engine, tmp_path) as (hub, console):
        for reset in (True, False):
            async with scripted_target(hub, "a", answers={}, hardware_id="a") as target:
                id = await console.request("stand_up", "a", timeout_ms=20_000)
                await target.expect("stand_up")
                began_s = running_s()
                await target.close(reset)
                answer = (await console.answer_to(id))[-1]
                assert (answer["type"], answer["status"]) == ("error", "unknown")
                assert answer["data"]["code"] == "disconnected"
                assert running_s() - began_s < 1.0
            async with scripted_target(hub, "a", answers={}, hardware_id="a") as target:
                id = await console.request("stand_up", "group:none_but_good", timeout_ms=20_000)
                assert (await console.answer_to(id))[-1]["data"]["code"] == "unknown_target"
                id = await console.request("stand_up", "all", timeout_ms=20_000)
                await target.expect("stand_up")
                await target.close(reset)
                *results, reply = await console.answer_to(id)
                assert (reply["status"], reply["data"]) == ("partial", {"ok": 1, "failed": 1})
                assert [(result["target_id"], result["status"]) for result in results] == [
                    ("good", "standing"),
                    ("a", "unknown"),
                ]
                assert results[1]["data"]["code"] == "disconnected"


@each_engine
async def test_others_do_not_wait_for_those_that_hang(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two answer, two hang, two vanish, one resets: each has its own result, the good ones in time."""
    timeout_ms = 1_500
    async with hub_at_work(engine, tmp_path) as (hub, console), AsyncExitStack() as stack:
        await stack.enter_async_context(scripted_target(hub, "good_2"))
        for name in ("hang_1", "hang_2"):
            await stack.enter_async_context(scripted_target(hub, name, answers={}))
        for name in ("gone_1", "gone_2"):
            gone = await stack.enter_async_context(scripted_target(hub, name, answers={}))
            gone.answers_heartbeat = False
        rude = await stack.enter_async_context(scripted_target(hub, "rude", answers={}))
        id = await console.request("stand_up", "all", timeout_ms=timeout_ms)
        await rude.expect("stand_up")
        await rude.close(reset=True)
        *results, reply = await console.answer_to(id)
        order = [result["target_id"] for result in results]
        assert len(order) == 7
        by_name = {result["target_id"]: result for result in results}
        assert set(by_name) == {"good", "good_2", "hang_1", "hang_2", "gone_1", "gone_2", "rude"}
        good_ms = [by_name[name]["data"]["round_trip_ms"] for name in ("good", "good_2")]
        with capsys.disabled():
            print(f"\n{engine} hub, 5 of 7 dead: the good ones answered after {good_ms} ms")
        assert {by_name[name]["status"] for name in ("good", "good_2")} == {"standing"}
        assert max(good_ms) < timeout_ms / 5
        assert set(order[:2]) <= {"good", "good_2", "rude"}
        assert by_name["rude"]["data"]["code"] == "disconnected"
        for name in ("hang_1", "hang_2", "gone_1", "gone_2"):
            result = by_name[name]
            assert (result["status"], result["data"]["code"]) in (
                ("unknown", "timeout"),
                ("unknown", "disconnected"),  # given up as dead before its time was over
            )
            assert result["data"]["round_trip_ms"] < timeout_ms + 1_000
        assert by_name["hang_1"]["data"]["code"] == "timeout"
        assert by_name["hang_1"]["data"]["round_trip_ms"] >= timeout_ms
        assert (reply["status"], reply["data"]) == ("partial", {"ok": 2, "failed": 5})
        # The next command finds those that have gone away.
        await until_connected(console, {"good", "good_2", "hang_1", "hang_2"})
        *results, reply = await console.answer_to(await console.request("ping", "all", timeout_ms=300))
        assert reply["data"] == {"ok": 2, "failed": 2}


@each_engine
async def test_many_commands_of_one_console_at_once(engine: str, tmp_path: Path) -> None:
    """Beyond eight under way it hears `busy`, and those that were taken are answered."""
    async with (
        hub_at_work(engine, tmp_path) as (hub, console),
        scripted_target(hub, "slow", answers={}) as target,
    ):
        ids = [await console.request("ping", "slow", timeout_ms=5_000) for _ in range(12)]
        for _ in range(4):
            error = await console.expect_error("busy")
            assert error["id"] in ids
            ids.remove(error["id"])
        for _ in range(8):
            command = await target.expect("ping")
            await target.send({"type": "pong", "id": command["id"], "status": "alive"})
        answered = [(await console.expect("pong"))["id"] for _ in range(8)]
        assert sorted(answered) == sorted(ids)


@each_engine
async def test_a_console_that_goes_takes_its_command_along(engine: str, tmp_path: Path) -> None:
    async with (
        hub_at_work(engine, tmp_path) as (hub, console),
        scripted_target(hub, "slow", answers={}) as target,
    ):
        async with console_of(hub) as leaver:
            await leaver.request("stand_up", "slow", timeout_ms=20_000)
            command = await target.expect("stand_up")
            await leaver.close(reset=True)
        await target.send({"type": "standing", "id": command["id"], "status": "standing"})
        asked = await console.request("ping", "slow")
        command = await target.expect("ping")
        await target.send({"type": "pong", "id": command["id"], "status": "alive"})
        assert (await console.answer_to(asked))[-1]["status"] == "alive"


@each_engine
async def test_answers_of_the_wrong_kind(engine: str, tmp_path: Path) -> None:
    """Another id, a word that is no answer, another type, twice: who asked hears the first answer."""
    async with (
        hub_at_work(engine, tmp_path) as (hub, console),
        scripted_target(hub, "odd", answers={}) as target,
    ):
        asked = await console.request("stand_up", "odd", timeout_ms=5_000)
        id = (await target.expect("stand_up"))["id"]
        await target.send(
            {"type": "standing", "id": "another", "status": "standing"},
            {"type": "result", "id": id, "status": "standing"},
            {"type": "down", "id": id, "status": "down"},
            {"type": "standing", "id": id, "status": "standing"},
        )
        answer = (await console.answer_to(asked))[-1]
        assert (answer["type"], answer["status"]) == ("down", "down")
        target.answers = OBEDIENT
        assert (await console.ask("lay_down", "odd"))["status"] == "down"


# --- the target's side of it


@each_body
async def test_a_ping_that_comes_with_the_registration(body: str, tmp_path: Path) -> None:
    """The target's health is known as soon as it may be asked for, even by the same piece of the stream."""
    async with scripted_hub() as hub, virtual_target(body, tmp_path, hub.address):
        peer = await hub.accept()
        message = await peer.expect("register", target_id="target_1")
        await peer.send(
            {"type": "registered", "id": message["id"], "status": "registered"}, {"type": "ping", "id": "p"}
        )
        assert (await peer.expect("pong", id="p", status="alive"))["data"]["state"] == "down"


@each_body
async def test_a_targets_hub_that_babbles(body: str, tmp_path: Path) -> None:
    """The target answers garbage with errors and goes on serving, before it is registered and after."""
    async with scripted_hub() as hub, virtual_target(body, tmp_path, hub.address):
        peer = await hub.accept()
        message = await peer.expect("register", target_id="target_1")
        await peer.send(*NOT_MESSAGES.values())
        for what in NOT_MESSAGES:
            assert (await peer.expect("error"))["data"]["code"] in codes_of(what), what
        await peer.send({"type": "registered", "id": message["id"], "status": "registered"})
        await bears_garbage(peer)
        await peer.send({"type": "list_targets", "id": 1})
        await peer.expect_error("unknown_type", id=1)
        await peer.send({"type": "stand_up", "id": "s"})
        await peer.expect("standing", id="s", status="standing")


@each_body
async def test_a_targets_hub_that_answers_as_a_browser_asks(body: str, tmp_path: Path) -> None:
    """The target hangs up, carries out nothing that comes behind, and dials again."""
    async with scripted_hub() as hub, virtual_target(body, tmp_path, hub.address):
        peer, _ = await hub.register()
        told = len(peer.received)
        await peer.send(b"GET / HTTP/1.1\r\n\r\n", {"type": "stand_up", "id": "s"})
        await peer.expect_error("unsupported")
        await peer.end()
        assert len(peer.received) == told + 1
        peer, _ = await hub.register()
        await peer.send({"type": "ping", "id": "p"})
        assert (await peer.expect("pong", id="p", status="alive"))["data"]["state"] == "down"


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "pong", "status": "alive"},
        {"type": "registered", "status": "registered", "data": {"heartbeat_ms": 1}},
        {"type": "error", "status": "error", "data": {"code": "busy", "message": "full"}},
    ],
)
async def test_a_target_that_is_not_let_in_dials_again(answer: Message, tmp_path: Path) -> None:
    async with scripted_hub() as hub, virtual_target("cpython", tmp_path, hub.address):
        for _ in range(2):
            peer = await hub.accept()
            message = await peer.expect("register")
            await peer.send({**answer, "id": message["id"]})
            await peer.end()
        peer, _ = await hub.register()
        await peer.send({"type": "ping", "id": "p"})
        await peer.expect("pong", id="p", status="alive")


async def test_a_hub_that_is_silent_from_the_start(tmp_path: Path) -> None:
    """It accepts and says nothing: the target gives up after its register timeout and dials again."""
    async with scripted_hub() as hub, virtual_target("cpython", tmp_path, hub.address):
        silent = await hub.accept()
        await silent.expect("register")
        began_s = running_s()
        await silent.end()
        assert running_s() - began_s < 3.0 + 2.0
        await hub.register()


async def test_a_repeated_command_is_carried_out_once(tmp_path: Path) -> None:
    async with scripted_hub() as hub, virtual_target("cpython", tmp_path, hub.address) as target:
        peer, _ = await hub.register()
        await peer.send({"type": "stand_up", "id": "x"}, {"type": "stand_up", "id": "x"})
        await peer.expect("standing", id="x")
        await peer.send({"type": "lay_down", "id": "y"})
        await peer.expect("down", id="y")
        at_rest_ns = target.duty_ns()
        await peer.send({"type": "stand_up", "id": "x"})
        await peer.expect("standing", id="x")  # as before
        assert target.duty_ns() == at_rest_ns  # and it still lies
        await peer.send({"type": "ping", "id": "z"})
        pong = await peer.expect("pong", id="z")
        assert pong["data"]["state"] == "down"


async def test_nobody_there_and_then_somebody(tmp_path: Path) -> None:
    """A refused connection is tried again."""
    port = free_port()
    async with virtual_target("cpython", tmp_path, f"{HOST}:{port}"):
        await until(lambda: len(asyncio.all_tasks()) > 1, "the target should run")
        with pytest.raises(ConnectionRefusedError):
            async with peer_of(port):
                pass
        async with running_hub("cpython", tmp_path, port=port) as hub:
            assert hub.hub is not None
            registry = hub.hub.router.registry
            await until(registry.connected, "the target should find its hub", DEADLINE_S)
