"""`snyper keys`, and a hub, targets and commands that find the keys by themselves."""

import asyncio
import json
import logging
import os
import pty
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from typer.testing import CliRunner

from snyper.cli.main import app_with
from snyper.client import ReconnectingClient, connect, environment, key_store
from snyper.client.environment import Keys, key_text
from snyper.client.key_store import StoredKey, new_key
from snyper.firmware.master.server import Access
from snyper.hub.access import KeyedHub
from snyper.shared.keys import Rights
from snyper.shared.socket_protocol import ProtocolError
from tests.integration.harness import (
    HOST,
    SLACK_S,
    free_port,
    linux_only,
    processes_with,
    run_snyper,
    snyper,
    until,
)
from tests.integration.stopwatch import running_s

FAILED = 1
USAGE = 2
INTERRUPTED = 130
REVOKED_S = 1.0  # the promise: within this whoever has proven a key that is gone is cut


def stored_secrets() -> list[str]:
    return [stored.key.secret.hex() for stored in key_store.load().keys]


def keys(*arguments: str, **environment: str) -> tuple[int, str, str]:
    """Run `snyper keys` in this process, and see that it says no secret, of those before and of those
    after.
    """
    before = stored_secrets()
    done = CliRunner().invoke(app_with(["keys"]), ["keys", *arguments], env=environment)
    assert not [secret for secret in before + stored_secrets() if secret in done.output]
    return done.exit_code, done.stdout, done.stderr


def test_keys_are_made_listed_and_revoked(tmp_path: Path) -> None:
    path = key_store.default_path()
    assert "`snyper keys new` makes one" in (keys("list"))[2]
    status, out, err = keys("new")
    assert (status, out) == (0, "")
    assert f"{path}, which only you can read" in err
    assert path.stat().st_mode & 0o777 == 0o600
    [fleet] = stored_secrets()
    status, _, err = keys("new")
    assert (status, "`snyper keys new --replace`" in err) == (FAILED, True)
    assert stored_secrets() == [fleet]
    assert (keys("new", "--replace"))[0] == 0
    assert stored_secrets() != [fleet]
    handed = tmp_path / "kiosk.key"
    assert (keys("add", "kiosk", "--rights", "reader", "--output", str(handed)))[0] == 0
    stored = key_store.load().find("kiosk")
    assert stored is not None
    assert handed.read_text() == stored.key.to_text() + "\n"
    assert handed.stat().st_mode & 0o777 == 0o600
    for arguments, expected, why in (
        (("add", "kiosk", "--rights", "reader"), FAILED, "choose another name"),
        (("add", "a b", "--rights", "reader"), FAILED, "a key's name is 1 to 32 of A-Z"),
        (("add", "all", "--rights", "device"), FAILED, "no device is called all"),
        (("add", "desk", "--rights", "king"), USAGE, "'console'"),
        (("add", "desk"), USAGE, "--rights"),
        (("add", "desk", "--rights", "console", "--output", str(handed)), FAILED, "name a new file"),
        (("add", "desk", "--rights", "console", "--output", f"{handed}/x"), FAILED, "name another file"),
        (("revoke", "desk"), FAILED, "`snyper keys list`"),
    ):
        status, out, err = keys(*arguments)
        assert (status, out) == (expected, ""), arguments
        assert why in err, arguments
    assert len(stored_secrets()) == 2
    status, out, err = keys("list", "--json", SNYPER_KEY_FILE="/nowhere")
    assert json.loads(out) == [
        {"name": "fleet", "rights": "fleet", "is_used_here": True},
        {"name": "kiosk", "rights": "reader", "is_used_here": False},
    ]
    status, out, err = keys("list", SNYPER_KEY="another")
    assert out.split() == ["key", "rights", "fleet", "fleet", "used", "here", "kiosk", "reader"]
    assert "SNYPER_KEY is set" in err
    status, _, err = keys("revoke", "kiosk")
    assert (status, "no key is left" in err) == (0, False)
    assert len(stored_secrets()) == 1
    status, _, err = keys("revoke", "fleet")
    assert (status, "no key is left: a running hub lets nobody in" in err) == (0, True)


async def _at_a_terminal(*arguments: str) -> tuple[int, asyncio.subprocess.Process]:
    """Start `snyper` at a terminal of its own; return the other end of that, and the process."""
    main, terminal = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "snyper.cli", *arguments),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # which makes it its terminal
    )
    os.close(terminal)
    return main, process


async def test_ctrl_c_where_a_secret_is_asked_for_changes_nothing() -> None:
    assert keys("new")[0] == 0
    before = stored_secrets()
    main, asking = await _at_a_terminal("keys", "new", "--secret", "--replace")
    seen = b""
    while b"secret: " not in seen:
        seen += await asyncio.to_thread(os.read, main, 1000)
    os.write(main, b"\x03")
    while b"nothing has changed" not in seen:
        seen += await asyncio.to_thread(os.read, main, 1000)
    assert await asking.wait() == INTERRUPTED
    os.close(main)
    assert stored_secrets() == before


async def test_a_key_of_a_secret_of_ones_own(tmp_path: Path) -> None:
    """Out of the variable, of stdin, or as typed: never shown, and the same on every computer."""
    status, _, err = keys("new", SNYPER_KEY="secret")
    assert (status, "8 characters or more" in err, stored_secrets()) == (FAILED, True, [])
    assert (keys("new", SNYPER_KEY="correct horse"))[0] == 0
    assert stored_secrets() == [key_text("correct horse").partition(":")[2]]
    command = "printf 'battery staple\\r\\n' | snyper keys new --secret --replace"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_shell(command, env={**os.environ, "PATH": path})
    assert await process.wait() == 0
    assert stored_secrets() == [key_text("battery staple").partition(":")[2]]
    status, _, err = keys("new", "--secret", "--replace")  # whose stdin is empty
    assert (status, "8 characters or more" in err) == (FAILED, True)
    main, typed = await _at_a_terminal("keys", "new", "--secret", "--replace")
    seen = b""
    for asked in (b"secret: ", b"again: "):
        while asked not in seen:
            seen += await asyncio.to_thread(os.read, main, 1000)
        os.write(main, b"a third one\n")
    while b"keys: fleet" not in seen:
        seen += await asyncio.to_thread(os.read, main, 1000)
    assert await typed.wait() == 0
    os.close(main)
    assert b"a third" not in seen
    assert stored_secrets() == [key_text("a third one").partition(":")[2]]


@pytest.mark.slow
@linux_only
async def test_nobody_types_a_key_and_none_is_seen_anywhere(tmp_path: Path) -> None:
    handed = tmp_path / "kiosk.key"
    said = [keys("new"), keys("add", "kiosk", "--rights", "reader", "--output", str(handed))]
    kiosk = {"SNYPER_KEY_FILE": str(handed)}
    secrets = stored_secrets()
    async with snyper("hub", "--listen", f"0.0.0.0:{free_port()}", "--json") as hub:
        address = await hub.listens()
        assert "for this computer alone" not in hub.err
        simulated = ("simulate", "--targets", "1", "--engine", "cpython", "--hub", address)
        async with AsyncExitStack() as stack:
            watch = await stack.enter_async_context(snyper("watch", "--hub", address, **kiosk))
            await hub.says("open: as console")
            targets = await stack.enter_async_context(snyper(*simulated, TMPDIR=str(tmp_path)))
            await watch.says("target_1")
            for arguments, environment, expected, why in (
                (("stand-up", "target_1"), {}, 0, ""),
                (("targets",), kiosk, 0, ""),
                (("stand-up", "target_1"), kiosk, FAILED, "your key may only read"),
                (("targets",), {"SNYPER_KEY": ""}, FAILED, "`snyper keys add NAME"),
                (("targets",), {"SNYPER_KEY": "wrong"}, FAILED, "the key here is fleet (of SNYPER_KEY)"),
                (("targets",), {"SNYPER_KEY_FILE": "/nowhere"}, FAILED, "cannot be read"),
            ):
                said.append(await run_snyper(*arguments, "--hub", address, **environment))
                assert said[-1][0] == expected, said[-1]
                assert why in said[-1][2], said[-1]
            assert not [pid for secret in secrets for pid in processes_with(secret)]
            said.append(keys("revoke", "kiosk"))
            began = running_s()
            await watch.says("the key kiosk was revoked")
            assert running_s() - began < REVOKED_S + SLACK_S
            said.append(await run_snyper("targets", "--hub", address, **kiosk))
            assert said[-1][0] == FAILED
            assert f"the key here is kiosk (of {handed})" in said[-1][2]
            said.append(await run_snyper("targets", "--hub", address))
            assert said[-1][0] == 0
    texts = [text for _, out, err in said for text in (out, err)]
    texts += [text for command in (hub, targets, watch) for text in (command.out, command.err)]
    assert not [text for text in texts for secret in secrets if secret in text]


@pytest.mark.parametrize(
    ("key", "said"), [("  ", "nothing but blanks"), ("fleet:5a5A", "the key fleet has 4 of 64 digits")]
)
async def test_what_is_clearly_no_key_is_not_taken_for_a_secret(key: str, said: str) -> None:
    for arguments in (("hub", "--listen", f"0.0.0.0:{free_port()}"), ("targets",), ("ping",)):
        status, out, err = await run_snyper(*arguments, SNYPER_KEY=key)
        assert (status != 0, out) == (True, ""), arguments
        assert said in err, arguments
        assert "Traceback" not in err


@pytest.mark.slow
async def test_a_hub_and_a_command_of_which_one_has_a_key() -> None:
    async with snyper("hub", "--listen", f"{HOST}:{free_port()}", "--json") as hub:
        address = await hub.listens()
        await hub.says("it has no key, so it is for this computer alone; `snyper keys new` makes one")
        assert (await run_snyper("targets", "--hub", address))[0] == 0
        for arguments in (("targets",), ("ping",), ("game", "list"), ("watch", "--timeout", "30")):
            status, out, err = await run_snyper(*arguments, "--hub", address, SNYPER_KEY="a word")
            assert (status, out) == (FAILED, ""), arguments
            assert "this hub has no key" in err, arguments
            assert "SNYPER_KEY= none" in err, arguments
            assert "a word" not in err
        # A key that is made now is proven from now on, and nobody is cut who had none.
        async with connect(address, "") as client:
            assert (keys("new"))[0] == 0
            await hub.says("its keys are now fleet")
            await hub.says("start it again to let boards in")
            assert await client.targets() == []
            assert (await run_snyper("targets", "--hub", address))[0] == 0
            assert (await run_snyper("targets", "--hub", address, SNYPER_KEY=""))[0] == 0


@pytest.mark.parametrize("engine", ["cpython", "micropython"])
async def test_a_hub_that_others_reach_wants_a_key_or_to_be_told(engine: str, tmp_path: Path) -> None:
    listen = f"0.0.0.0:{free_port()}"
    arguments = ("hub", "--engine", engine, "--listen", listen)
    status, out, err = await run_snyper(*arguments)
    assert (status, out) == (FAILED, "")
    assert "make one with `snyper keys new`" in err
    assert err.count("\n") == 1
    async with snyper(*arguments, "--open", "--json", TMPDIR=str(tmp_path)) as hub:
        await hub.says("Ctrl-C stops it")
        assert (await hub.says_json())["open"] is True
        assert "open: whoever reaches it commands every target" in hub.err
        assert "for this computer alone" not in hub.err
        status, out, err = await run_snyper("targets", "--json", "--hub", json.loads(hub.out)["listen"])
        assert (status, json.loads(out)) == (0, [])
        assert "this hub is open to all who reach it" in err


async def test_whoever_has_proven_a_key_that_is_gone_or_changed_is_cut() -> None:
    fleet, desk, kiosk = (new_key(name) for name in ("fleet", "desk", "kiosk"))

    def lines(*stored: StoredKey) -> str:
        return "\n".join(one.to_line() for one in stored)

    all_of_them = [StoredKey(fleet, Rights.FLEET), StoredKey(desk, "console"), StoredKey(kiosk, "reader")]
    hub = KeyedHub(HOST, 0, 4, 4, lines(*all_of_them))
    await hub.start()
    address = f"{HOST}:{hub.port}"
    try:
        clients = [ReconnectingClient(address, stored.key.to_text()) for stored in all_of_them]
        async with clients[0] as first, clients[1] as second, clients[2] as third:
            for client in clients:
                await client.wait_until_connected(30)
            kept = first.link
            hub.change_keys(lines(all_of_them[0], StoredKey(desk, Rights.READER)))
            await until(lambda: third.is_lost, "whose key is gone is cut")
            assert third.last_error is not None
            await until(lambda: second.is_lost, "whose rights are others is cut too")
            await second.wait_until_connected(30)
            with pytest.raises(ProtocolError, match="your key may only read"):
                await second.stop_game()
            await until(lambda: "is the key the same" in str(third.last_error), "it is not let in again")
            assert first.link is kept
            assert await first.targets() == []
            hub.change_keys("")
            await until(lambda: first.is_lost, "with no key left nobody is in")
            await until(lambda: "this hub has no key" in str(first.last_error), "and nobody gets in")
        assert hub.access == Access.KEYS
    finally:
        await hub.shut_down()


async def test_a_client_goes_on_with_the_fleets_next_key() -> None:
    """So does a dashboard, which nobody starts again for that."""
    assert keys("new")[0] == 0
    hub = KeyedHub(HOST, 0, 4, 4, "\n".join(stored.to_line() for stored in key_store.load().keys))
    await hub.start()
    following = asyncio.create_task(hub.follow(key_store.default_path()))
    try:
        async with ReconnectingClient(f"{HOST}:{hub.port}") as client:
            await client.wait_until_connected(30)
            before = client.link
            assert keys("new", "--replace")[0] == 0
            await until(lambda: client.link not in (before, None), "it should be back with the new key")
            assert await client.targets() == []
            assert not client.is_open
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await hub.shut_down()


@linux_only
def test_a_key_that_was_not_kept_is_handed_to_nobody(tmp_path: Path) -> None:
    import resource

    handed = tmp_path / "kiosk.key"
    add = ["keys", "add", "kiosk", "--rights", "reader", "--output", str(handed)]
    most = 100  # bytes of a file: a key has fewer, and the file of keys more
    done = subprocess.run(
        [sys.executable, "-B", "-m", "snyper.cli", *add],  # else it leaves half of its bytecode
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == FAILED
    assert "keys.toml cannot be written" in done.stderr
    assert list(tmp_path.glob("*.key")) == []


async def test_a_key_out_of_a_pipe_is_read_once() -> None:
    """As `SNYPER_KEY_FILE=<(pass show snyper)` of a shell gives it."""
    fleet = new_key("fleet")
    hub = KeyedHub(HOST, 0, 4, 4, fleet.to_text())
    await hub.start()
    read, write = os.pipe()
    os.write(write, fleet.to_text().encode())
    os.close(write)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SNYPER_KEY_FILE", f"/dev/fd/{read}")
            async with connect(f"{HOST}:{hub.port}") as client:
                assert await client.targets() == []
    finally:
        os.close(read)
        await hub.shut_down()


async def test_a_file_of_keys_that_is_broken_or_gone_changes_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    path = key_store.default_path()
    with key_store.changing() as store:
        store.add(new_key("fleet"), Rights.FLEET)
    text = path.read_text()
    hub = KeyedHub(HOST, 0, 4, 4, "\n".join(stored.to_line() for stored in store.keys))
    before = hub.keys
    following = asyncio.create_task(hub.follow(path))
    try:
        for change, said in (
            (lambda: path.write_text(text + "x"), "its keys stay as they were"),
            (path.unlink, "is gone: its keys hold"),
        ):
            change()
            await until(lambda said=said: said in caplog.text, "it should say so")  # type: ignore[misc]
            assert hub.keys == before
        path.write_text(text.replace('"fleet"\nrights', '"other"\nrights'))
        await until(lambda: hub.keys != before, "a whole one is taken")
        assert hub.keys == before.replace("fleet:", "other:")
        assert before[6:70] not in caplog.text
        path.write_text("")
        await until(lambda: not hub.keys, "one without a key is taken too")
        await until(lambda: "lets nobody in: make a key with `snyper keys new`" in caplog.text, "it says so")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_keys_that_cannot_be_read_for_a_while_are_taken_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fleet, kiosk = new_key("fleet"), new_key("kiosk")
    with key_store.changing() as store:
        store.add(fleet, Rights.FLEET)
    errors = ["Too many open files"] * 2

    def read() -> Keys:
        if errors:
            raise ValueError(errors.pop())
        return environment.keys()

    hub = KeyedHub(HOST, 0, 4, 4, f"{fleet.to_text()} fleet\n{kiosk.to_text()} reader")
    following = asyncio.create_task(hub.follow(key_store.default_path(), read))
    try:
        await until(lambda: "kiosk" not in hub.keys, "the revoked key should be gone")
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert caplog.text.count("its keys stay as they were: Too many open files") == 1


async def test_a_hub_whose_key_came_out_of_a_pipe_ends(tmp_path: Path) -> None:
    """It looks there no more: a thread that reads on keeps it from ending."""
    pipe = tmp_path / "key"
    os.mkfifo(pipe, 0o600)
    key = new_key("fleet").to_text()
    async with snyper("hub", "--listen", f"{HOST}:{free_port()}", "--json", SNYPER_KEY_FILE=str(pipe)) as hub:
        await asyncio.to_thread(pipe.write_text, key)
        address = await hub.listens()
        async with connect(address, key) as client:
            assert await client.targets() == []
        assert await hub.interrupt() == 0
