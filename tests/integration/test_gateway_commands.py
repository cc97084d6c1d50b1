"""What `snyper serve` says where it cannot serve: a line, and what to do."""

import re
import signal
import socket
from pathlib import Path

import pytest

from tests.integration.gateway_harness import SERVICES
from tests.integration.harness import left_in, processes_with, run_snyper, snyper, until

HERE = "127.0.0.1:0"


@pytest.mark.parametrize(
    ("arguments", "environment", "status", "said"),
    [
        (
            ("--listen", HERE, "--listen", "0.0.0.0:0"),
            {},
            2,
            "a server on 0.0.0.0:0 can be reached by others",
        ),
        (("--open",), {"SNYPER_SERVICE_KEY": "x"}, 2, "--open lets everybody in, and there is a key"),
        (("--key-file", "no file"), {}, 2, "--key-file: no file cannot be read"),
        (("--certificate", "services.py"), {}, 1, "services.py cannot be used for HTTPS"),
        (("--limit", "no=1"), {}, 2, "--limit: "),
        (("--listen", "TAKEN"), {}, 1, "cannot listen on TAKEN (.*): is another server running?"),
        (("--state", "services.py/state"), {}, 1, "services.py"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
async def test_what_is_wrong(
    tmp_path: Path, arguments: tuple[str, ...], environment: dict[str, str], status: int, said: str
) -> None:
    services = tmp_path / "services.py"
    services.write_text(SERVICES)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        words = [
            word.replace("TAKEN", f"127.0.0.1:{port}").replace("services.py", str(services))
            for word in arguments
        ]
        pattern = said.replace("TAKEN", f"127.0.0.1:{port}")
        if "--listen" not in arguments:
            words += ["--listen", HERE]
        environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), **environment}
        found, out, err = await run_snyper("serve", str(services), *words, **environment)
    assert (found, out) == (status, ""), err
    assert re.search(pattern, err), err
    assert "Traceback" not in err
    assert left_in(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_ends_while_the_services_load(tmp_path: Path, number: signal.Signals) -> None:
    services = tmp_path / "slow_services.py"
    services.write_text(
        f"import time, pathlib\npathlib.Path({str(tmp_path / 'begun')!r}).touch()\ntime.sleep(60)\n"
    )
    environment = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    async with snyper("serve", str(services), "--listen", HERE, **environment) as command:
        await until((tmp_path / "begun").exists, "it loads them")
        assert await command.interrupt(number) == 0
    assert command.err.splitlines()[-1:] == ["stopped"]
    assert left_in(tmp_path) == []
    assert processes_with(str(services)) == []
