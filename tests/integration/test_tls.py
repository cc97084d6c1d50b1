"""TLS between computers and to boards, on one port with who has none: real sockets, a real MicroPython."""

import asyncio
import json
import os
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from snyper.boards.board import BoardProcess
from snyper.client import NoHubError, connect, receive_files
from snyper.client.certificate import FILE_NAME, of_hubs
from snyper.client.environment import key_text
from snyper.hub.tls import TlsHub, server_tls
from snyper.shared.keys import Key, seals
from snyper.shared.socket_protocol import ProtocolError
from tests.integration.harness import (
    DEADLINE_S,
    HOST,
    ROOT,
    HubUnderTest,
    SessionTarget,
    free_port,
    linux_only,
    needs_micropython,
    resident_kb,
    run_snyper,
    running_hub,
    snyper,
    until,
)

KEY = key_text("open sesame")


@asynccontextmanager
async def hub_with_tls(path: Path) -> AsyncIterator[HubUnderTest]:
    hub = TlsHub(HOST, 0, 8, 8, KEY)
    hub.tls = server_tls(path)
    await hub.start()
    try:
        yield HubUnderTest(hub.port, hub=hub)
    finally:
        await hub.shut_down()


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this user's hub has its certificate."""
    monkeypatch.setenv("SNYPER_KEYS", str(tmp_path / "user" / "keys.toml"))
    return tmp_path / "user" / FILE_NAME


@pytest.fixture
async def hub(certificate: Path) -> AsyncIterator[HubUnderTest]:
    async with hub_with_tls(certificate) as running:
        yield running


def secured(hub: HubUnderTest) -> str:
    return f"tls://{hub.address}"


async def test_one_port_for_who_has_tls_and_who_has_not(hub: HubUnderTest) -> None:
    async with connect(secured(hub), KEY) as with_tls, connect(hub.address, KEY) as sealed:
        assert await with_tls.targets() == await sealed.targets() == []


async def test_files_pass_through_in_large_pieces(hub: HubUnderTest, tmp_path: Path) -> None:
    content = os.urandom(300_000)
    async with receive_files(secured(hub), "store", tmp_path, KEY), connect(secured(hub), KEY) as client:
        await client.send_bytes("store", "a.bin", content)
    assert (tmp_path / "a.bin").read_bytes() == content


# --- who sits between


@asynccontextmanager
async def relay_to(hub: HubUnderTest, shown: ssl.SSLContext | None) -> AsyncIterator[str]:
    """Somebody between, who passes on what is said; with `shown` he ends TLS himself, with that certificate,
    and begins it anew with the hub. Yields his address.
    """
    blind = ssl.create_default_context()
    blind.check_hostname = False
    blind.verify_mode = ssl.CERT_NONE

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(4096):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    served: list[asyncio.Future[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.get_running_loop().create_future())
        there = await asyncio.open_connection(HOST, hub.port, ssl=blind if shown else None)
        await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))
        served[-1].set_result(None)

    between = await asyncio.start_server(serve, HOST, 0, ssl=shown)
    try:
        yield f"{HOST}:{between.sockets[0].getsockname()[1]}"
    finally:
        between.close()
        await asyncio.gather(*served)


async def test_who_sits_between_with_another_certificate_is_found_out(
    hub: HubUnderTest, tmp_path: Path
) -> None:
    other, _ = server_tls(tmp_path / "other.pem")
    async with relay_to(hub, None) as cable, connect(f"tls://{cable}", KEY) as client:
        assert await client.targets() == []
    async with relay_to(hub, other) as between:
        with pytest.raises(ProtocolError) as refused:
            async with connect(f"tls://{between}", KEY):
                pass
    assert refused.value.code == "unauthorized"


@needs_micropython
async def test_a_board_serves_only_who_has_the_certificate_it_got(hub: HubUnderTest, tmp_path: Path) -> None:
    other, _ = server_tls(tmp_path / "other.pem")
    async with relay_to(hub, other) as between:
        hubs = [f"tls://{between}", secured(hub)]
        async with target_of(tmp_path, hubs) as board:
            await until(lambda: board.times_up, "it should register with the hub that it knows")
            assert f"{between} takes no registration: unauthorized" in board.log
            async with connect(secured(hub), KEY) as client:
                for word in (client.stand_up, client.lay_down):
                    [result] = await word("target_1")
                    assert result.ok, result
                await client.send_bytes("target_1", "a.bin", os.urandom(20_000))
                assert [text async for text in client.log("target_1")]
            assert "Traceback" not in board.log


async def test_a_simulated_target_likewise(hub: HubUnderTest, tmp_path: Path) -> None:
    other, _ = server_tls(tmp_path / "other.pem")
    async with relay_to(hub, other) as between, connect(hub.address, KEY) as client:
        hubs = [f"tls://{between}", secured(hub)]
        target = SessionTarget({"target_id": "t", "hub": hubs, "key": KEY, "certificate": of_hubs(hubs)})
        target.start()
        try:
            async for event in client.events(0):
                if event.event == "registered":
                    break
            [result] = await client.stand_up("t")
            assert result.ok
        finally:
            await target.kill()


@asynccontextmanager
async def target_of(directory: Path, hubs: list[str]) -> AsyncIterator[BoardProcess]:
    config = {"hub": hubs, "key": KEY, "certificate": of_hubs(hubs)}
    board = BoardProcess(directory / "target", "target", config)
    board.start()
    try:
        yield board
    finally:
        board.kill()


@needs_micropython
@pytest.mark.parametrize("engine", ["cpython", "micropython"])
async def test_who_asks_for_tls_speaks_nothing_else(engine: str, tmp_path: Path, certificate: Path) -> None:
    server_tls(certificate)
    async with running_hub(engine, tmp_path, keys=[KEY]) as hub:
        with pytest.raises(NoHubError):
            async with connect(secured(hub), KEY):
                pass
        async with target_of(tmp_path, [secured(hub)]) as board:
            await until(lambda: f"no hub at {secured(hub)}" in board.log, "it should give up")
            assert not board.times_up
        async with connect(hub.address, KEY) as client:
            assert await client.targets() == []


async def test_tls_without_a_key_is_refused_at_both_ends(hub: HubUnderTest) -> None:
    with pytest.raises(ProtocolError, match="unauthorized: TLS needs a key"):
        async with connect(secured(hub), ""):
            pass
    status, _, said = await run_snyper("hub", "--listen", f"{HOST}:0", "--tls")
    assert status == 1
    assert "snyper keys new" in said


# --- strangers


async def test_a_hello_that_never_ends_is_given_up(hub: HubUnderTest) -> None:
    assert hub.hub is not None
    hub.hub.register_ms = 100
    for begin in (b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x16garbage\n" * 10):
        reader, writer = await asyncio.open_connection(HOST, hub.port)
        writer.write(begin)
        async with asyncio.timeout(DEADLINE_S):
            await reader.read()
        writer.close()
    reader, writer = await asyncio.open_connection(HOST, hub.port)
    async with asyncio.timeout(DEADLINE_S):
        assert b"not_registered" in await reader.read()  # who says nothing is told, without TLS
    writer.close()
    await until(lambda: not hub.hub.links, "all are gone")  # type: ignore[union-attr]


@linux_only
async def test_a_hello_that_is_too_long_takes_no_memory(certificate: Path) -> None:
    """OpenSSL keeps 128 kB of one, and a link that has ended stays until the collector comes."""
    said = b"\x01\x01\xfb\xd0\x03\x03" + bytes(129_000)  # a hello of 130,000 bytes
    pieces = [said[at : at + 16_384] for at in range(0, len(said), 16_384)]
    hello = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    async with snyper("hub", "--listen", f"{HOST}:{free_port()}", "--tls", "--json", SNYPER_KEY=KEY) as hub:
        host, _, port = (await hub.listens()).rpartition(":")
        before_kb = resident_kb(hub.process.pid)
        for _ in range(300):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(hello)
            async with asyncio.timeout(DEADLINE_S):
                with suppress(ConnectionError):
                    assert await reader.read() == b""
            writer.close()
        assert resident_kb(hub.process.pid) - before_kb < 20_000


# --- the wire, byte by byte


@pytest.mark.parametrize("is_bound", [True, False])
async def test_the_first_line_each_way_is_sealed_and_bound(hub: HubUnderTest, is_bound: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with asyncio.timeout(DEADLINE_S):
        reader, writer = await asyncio.open_connection(HOST, hub.port, ssl=context)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        nonce = os.urandom(16)
        said = {"role": "console", "key": "fleet", "nonce": nonce.hex()}
        writer.write(json.dumps({"type": "register", "id": 1, "data": said}).encode() + b"\n")
        hub_nonce = bytes.fromhex(json.loads(await reader.readline())["data"]["nonce"])
        binding = sha256(shown).digest() if is_bound else b""
        to_hub, from_hub = seals(Key(KEY), "console", "", nonce, hub_nonce, binding)
        line = json.dumps({"type": "register", "id": 2, "data": {"role": "console"}}).encode() + b"\n"
        writer.write(to_hub.seal(line) + b'{"type":"list_targets","id":3}\n')
        answer = await reader.readline()
        if is_bound:
            assert json.loads(from_hub.open(answer) or b"")["type"] == "registered"
            assert json.loads(await reader.readline())["id"] == 3
        else:
            assert b"unauthorized" in answer
        writer.close()


# --- the command


def private_content(path: Path) -> bytes:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return path.read_bytes()


@pytest.mark.slow
async def test_a_hub_makes_its_certificate_once(certificate: Path) -> None:
    shown = []
    for _ in range(2):
        async with snyper("hub", "--listen", f"{HOST}:0", "--tls", "--json", SNYPER_KEY=KEY) as command:
            await until(lambda: command.out, "the hub should listen")
            address = json.loads(command.out)["listen"]
            hub = f"tls://{address}"
            assert (await run_snyper("targets", "--hub", hub, SNYPER_KEY=KEY))[0] == 0
            assert (await run_snyper("targets", SNYPER_HUB=hub, SNYPER_KEY="other"))[0] != 0
            status, _, said = await run_snyper("targets", SNYPER_HUB=hub, SNYPER_KEY="")
            assert status == 1
            assert "TLS needs a key, and there is none here (give yours with SNYPER_KEY_FILE=FILE" in said
            assert "no hub at" not in said  # nor is anybody told to start one
            assert hub in command.err
            assert await command.interrupt() == 0
        shown.append(private_content(certificate))
    assert shown[0] == shown[1]
    assert KEY[6:] not in command.err


def test_one_that_is_there_is_only_read(certificate: Path) -> None:
    """Also in a folder in which nothing can be made."""
    made = server_tls(certificate)[1]
    lock = certificate.with_name(f".{certificate.name}.lock")
    lock.unlink()
    lock.mkdir()
    assert server_tls(certificate)[1] == made


def test_what_makes_it_is_an_extra(certificate: Path) -> None:
    program = "import sys; sys.modules['cryptography'] = None; from snyper.hub.__main__ import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program, "--listen", f"{HOST}:0", "--tls"],
        env={**os.environ, "SNYPER_KEY": KEY},
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )
    assert result.returncode == 1
    assert f"needs cryptography, which is not installed: {sys.executable} -m pip" in result.stderr
    assert not certificate.exists()


@pytest.mark.parametrize("content", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_file_that_holds_no_certificate(certificate: Path, content: str) -> None:
    certificate.parent.mkdir()
    certificate.write_text(content)
    status, _, said = asyncio.run(run_snyper("hub", "--listen", f"{HOST}:0", "--tls", SNYPER_KEY=KEY))
    assert status == 1
    assert f"{certificate} holds no certificate: move it away" in said
    assert "Traceback" not in said
