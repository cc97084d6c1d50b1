"""The dashboard under attack over HTTP: strangers, other sites' pages, and tabs that are none of ours."""

import json
import re
import resource
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlencode

import pytest

pytest.importorskip("nicegui", reason="no NiceGUI here: pip install 'snyper[dashboard]'")

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from snyper.dashboard import limits
from snyper.system.limits import complete_limits
from tests.integration.dashboard_process import Process
from tests.integration.harness import HOST, free_port
from tests.integration.stopwatch import running_s

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it needs addresses 127.0.0.x, and prlimit")

LIMITS = complete_limits(limits.LIMITS, ())
FREE_GUESSES, MAX_BURST = LIMITS["guesses"], LIMITS["messages_at_once"]
HEAD_S, BODY_S = LIMITS["head_ms"] / 1000, LIMITS["body_ms"] / 1000
PASSWORD = "correct horse"
DEADLINE_S = 20.0
SLACK_S = 2.0  # for a machine that has other tests to run
OWNER, STRANGER = "127.0.0.2", "127.0.0.3"  # whom the dashboard tells apart


class Dashboard:
    """A dashboard with a password, and its hub."""

    def __init__(self, directory: Path, *options: str, password: str = PASSWORD) -> None:
        self.directory = directory
        self.tabs = ExitStack()
        self.hub_address = f"{HOST}:{free_port()}"
        self.hub = Process(directory, "hub", "--listen", self.hub_address, "--no-journal")
        self.port = free_port()
        self.process = Process(
            directory,
            *(
                "dashboard",
                "--hub",
                self.hub_address,
                "--listen",
                f"{HOST}:{self.port}",
                "--no-open",
            ),
            *("--archive", str(directory / "archive.sqlite3"), *options),
            **({"SNYPER_DASHBOARD_PASSWORD": password} if password else {}),
        )

    @property
    def log(self) -> str:
        return (self.directory / "dashboard.log").read_text()

    def has_its_hub(self) -> None:
        """Wait until the dashboard is connected to its hub."""
        until_s = time.monotonic() + DEADLINE_S
        while "connected to the hub" not in self.log:
            assert time.monotonic() < until_s, self.log
            time.sleep(0.02)

    def close(self) -> None:
        self.tabs.close()
        for process in (self.process, self.hub):
            assert process.end() == 0

    # --- as whoever knows HTTP and no manners

    def dial(self, address: str = STRANGER) -> socket.socket:
        return socket.create_connection((HOST, self.port), DEADLINE_S, (address, 0))

    def head(self, method: str, path: str, **headers: str) -> bytes:
        lines = [f"{method} {path} HTTP/1.1", f"Host: {HOST}:{self.port}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def guess(self, password: str) -> bytes:
        form = urlencode({"password": password}).encode()
        return self.head("POST", "/login", Content_Length=str(len(form))) + form

    def ask(self, request: bytes, address: str = OWNER) -> str:
        """What is answered to a request, until the connection ends or says nothing more."""
        with self.dial(address) as sock:
            sock.sendall(request)
            return whole_answer(sock)

    def sign_in(self, address: str = OWNER) -> str:
        """The cookie of a new session."""
        answer = self.ask(self.guess(PASSWORD), address)
        assert answer.startswith("HTTP/1.1 303"), answer
        found = re.search(r"set-cookie: (snyper_\d+=[^;]+)(.*)", answer)
        assert found is not None, answer
        assert found[2].strip() == "; HttpOnly; Max-Age=43200; Path=/; SameSite=strict"
        return found[1]

    def open_page(self, cookie: str = "") -> str:
        """The id of a new page."""
        answer = self.ask(self.head("GET", "/", **({"Cookie": cookie} if cookie else {})))
        assert answer.startswith("HTTP/1.1 200"), answer[:200]
        found = re.search(r"'client_id': '([0-9a-f-]+)'", answer)
        assert found is not None
        return found[1]

    def open_tab(self, cookie: str = "", **headers: str) -> tuple[ClientConnection, str]:
        """The socket of a new tab that has opened a page, and the page's id."""
        page = self.open_page(cookie)
        query = urlencode(
            {
                "client_id": page,
                "tab_id": "t",
                "document_id": "d",
                "next_message_id": 0,
                "implicit_handshake": "true",
                "EIO": 4,
                "transport": "websocket",
            }
        )
        if cookie:
            headers["Cookie"] = cookie
        tab = self.tabs.enter_context(
            connect(
                f"ws://{HOST}:{self.port}/_nicegui_ws/socket.io/?{query}",
                additional_headers=headers,
                source_address=(OWNER, 0),
            )
        )
        tab.send("40")
        for _ in range(2):
            tab.recv(DEADLINE_S)  # its OPEN, and that of Socket.IO
        return tab, page


def whole_answer(sock: socket.socket) -> str:
    answer = b""
    while True:
        head, _, body = answer.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if body and length is None and answer.endswith(b"\r\n0\r\n\r\n"):
            return answer.decode()
        if b"\r\n\r\n" in answer and length is not None and len(body) >= int(length[1]):
            return answer.decode()
        piece = sock.recv(65_536)
        if not piece:
            return answer.decode()
        answer += piece


def close_code(tab: ClientConnection) -> int | None:
    """Why the dashboard closes a tab's socket, once it does."""
    try:
        while True:
            tab.recv(DEADLINE_S)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd is not None else None


def ended_after_s(sock: socket.socket) -> float:
    """Return after how long the other side ended it, whatever it said first."""
    began_s = running_s()
    sock.settimeout(DEADLINE_S)
    try:
        while sock.recv(65_536):
            pass
    except ConnectionError:
        pass
    return running_s() - began_s


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    found = Dashboard(tmp_path_factory.mktemp("attacked"))
    found.has_its_hub()
    yield found
    found.close()


def test_guesses_in_one_packet_are_judged_as_one_after_the_other(dashboard: Dashboard) -> None:
    address = "127.0.1.1"
    with dashboard.dial(address) as sock:
        sock.sendall(b"".join(dashboard.guess("wrong") for _ in range(30)) + dashboard.guess(PASSWORD))
        answers = b""
        while answers.count(b"HTTP/1.1 ") < 31:
            piece = sock.recv(65_536)
            assert piece, "it ended"
            answers += piece
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", answers)
    assert statuses == [b"401"] * FREE_GUESSES + [b"429"] * (31 - FREE_GUESSES)
    dashboard.sign_in()  # whom nobody has locked out


def test_many_heads_first_and_all_bodies_later_gain_nothing(dashboard: Dashboard) -> None:
    address = "127.0.1.2"
    with ExitStack() as stack:
        socks = [stack.enter_context(dashboard.dial(address)) for _ in range(100)]
        for sock, password in zip(socks, ["wrong"] * 99 + [PASSWORD], strict=True):
            head, _, _ = dashboard.guess(password).partition(b"\r\n\r\n")
            sock.sendall(head + b"\r\n\r\n")
        for sock, password in zip(socks, ["wrong"] * 99 + [PASSWORD], strict=True):
            sock.sendall(urlencode({"password": password}).encode())
        statuses = [whole_answer(sock).split()[1] for sock in socks]
    assert statuses.count("401") == FREE_GUESSES
    assert statuses.count("429") == 100 - FREE_GUESSES
    dashboard.sign_in()


def test_half_heads_cost_the_dashboard_nothing(dashboard: Dashboard) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4_096)), hard))
    with ExitStack() as stack:
        socks = []
        for number in range(1_100):
            sock = stack.enter_context(dashboard.dial(f"127.0.2.{number % 10 + 1}"))
            sock.sendall(b"GET / HTTP/1.1\r\nX-")
            socks.append(sock)
        asked_s = running_s()
        dashboard.sign_in()
        assert running_s() - asked_s < 1.0
        descriptors = len(list(Path(f"/proc/{dashboard.process.process.pid}/fd").iterdir()))
        assert descriptors < LIMITS["connections"] + 60
        for sock in socks:
            ended_after_s(sock)
    assert running_s() - asked_s < 2 * HEAD_S + SLACK_S
    assert "is lost" not in dashboard.log
    assert "cannot take" not in dashboard.log


def test_one_address_does_not_take_every_place(dashboard: Dashboard) -> None:
    with ExitStack() as stack:
        socks = [stack.enter_context(dashboard.dial(STRANGER)) for _ in range(LIMITS["per_address"] + 20)]
        dashboard.sign_in()
        for sock in socks[:20]:  # those that waited longest
            assert ended_after_s(sock) < HEAD_S - 1.0


SLOW = {  # how it begins, and what then comes piece by piece
    "a head": (b"GET / HTTP/1.1\r\n", b"X-a: b\r\n"),
    "a body": (b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", b"p"),
    "chunks": (b"POST /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\np\r\n"),
}


def test_what_comes_slowly_has_an_end(dashboard: Dashboard) -> None:
    def send_slowly(what: str) -> float:
        begin, piece = SLOW[what]
        began_s = running_s()
        with dashboard.dial() as sock:
            sock.settimeout(0.5)
            sock.sendall(begin)
            while running_s() - began_s < DEADLINE_S:
                try:
                    sock.sendall(piece)
                    if not sock.recv(4096):
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
        return running_s() - began_s

    with ThreadPoolExecutor(len(SLOW)) as threads:
        took_s = dict(zip(SLOW, threads.map(send_slowly, SLOW), strict=True))
    assert max(took_s.values()) < max(HEAD_S, BODY_S) + SLACK_S, took_s


@pytest.mark.parametrize(
    ("begin", "piece", "most"),
    [
        (b"GET / HTTP/1.1\r\nX-", b"a" * 4_096, LIMITS["head_bytes"]),
        (b"GET / HTTP/1.1\r\n", b"X-a: " + b"b" * 91 + b"\r\n", LIMITS["head_bytes"]),
        (
            b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n",
            b"p" * 4_096,
            LIMITS["body_bytes"],
        ),
        (
            b"GET /login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"1000\r\n" + b"p" * 4_096 + b"\r\n",
            LIMITS["body_bytes"],
        ),
    ],
    ids=["a line without end", "headers without end", "a long body", "chunks without end"],
)
def test_what_is_too_long_has_an_end(dashboard: Dashboard, begin: bytes, piece: bytes, most: int) -> None:
    sent = 0
    with dashboard.dial() as sock:
        try:
            sock.sendall(begin)
            while sent < 100_000_000:
                sock.sendall(piece)
                sent += len(piece)
        except ConnectionError:
            pass
    assert sent < most + 8_000_000  # what the system's buffers take


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},  # another port of this host
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
        {"Referer": "http://evil.example/page"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", ["/", "/export/hits.csv", "/login"])
def test_another_sites_page_gets_nothing(dashboard: Dashboard, headers: dict[str, str], path: str) -> None:
    answer = dashboard.ask(dashboard.head("GET", path, Cookie=dashboard.sign_in(), **headers))
    assert answer.startswith("HTTP/1.1 403"), answer
    guess = dashboard.head("POST", "/login", Content_Length="0", **headers)
    for _ in range(FREE_GUESSES + 1):  # which does not count
        assert dashboard.ask(guess).startswith("HTTP/1.1 403")


def test_whoever_follows_no_link_gets_everything(dashboard: Dashboard) -> None:
    cookie = dashboard.sign_in()
    for headers in (
        {"Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "same-origin", "Referer": f"http://{HOST}:{dashboard.port}/game"},
        {"Referer": f"http://{HOST}:{dashboard.port}/login"},
        {},
    ):
        assert dashboard.ask(dashboard.head("GET", "/", Cookie=cookie, **headers)).startswith("HTTP/1.1 200")


def test_signing_out_ends_every_tab(dashboard: Dashboard) -> None:
    cookie = dashboard.sign_in()
    other, _ = dashboard.open_tab(dashboard.sign_in())
    tabs = [dashboard.open_tab(cookie)[0] for _ in range(3)]
    assert dashboard.ask(dashboard.head("GET", "/logout", Cookie=cookie)).startswith("HTTP/1.1 404")
    for tab in tabs:
        tab.ping().wait(DEADLINE_S)
    began_s = running_s()
    goodbye = dashboard.ask(dashboard.head("POST", "/logout", Cookie=cookie, Content_Length="0"))
    assert goodbye.startswith("HTTP/1.1 303")
    for tab in tabs:
        assert close_code(tab) == 1008
    assert running_s() - began_s < 1.0
    uri = f"ws://{HOST}:{dashboard.port}/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
    with pytest.raises(InvalidStatus), connect(uri, additional_headers={"Cookie": cookie}):
        pass
    assert dashboard.ask(dashboard.head("GET", "/", Cookie=cookie)).startswith("HTTP/1.1 303")
    other.ping().wait(DEADLINE_S)  # somebody else's
    other.close()


FORGED = "12:00:00 hub: all is well"


@pytest.mark.parametrize(
    "messages",
    [
        [["log", {"client_id": "PAGE", "level": "error", "message": f"\n{FORGED}"}]],
        [["event", {"client_id": "PAGE"}]],
        [["event", {"client_id": "PAGE", "id": [FORGED], "listener_id": {}, "args": 7}]],
        [["event", {"client_id": FORGED, "id": 1, "listener_id": "x", "args": []}]],
        [["event", FORGED], ["event"], ["event", 1, 2, 3]],
        [["ack", {"client_id": "PAGE", "next_message_id": FORGED}]],
        [["ack", {"client_id": "PAGE", "next_message_id": 0}]] * (MAX_BURST + 300),
        [[{"a": 1}, FORGED], [None], []],
        [[f"\n{FORGED}", {}]] * 50,
    ],
    ids=[
        "log",
        "no listener",
        "wrong kinds",
        "of another page",
        "no object",
        "ack",
        "many",
        "no name",
        "none",
    ],
)
def test_a_tab_does_not_write_the_log(dashboard: Dashboard, messages: list[object]) -> None:
    before = len(dashboard.log)
    tab, page = dashboard.open_tab(dashboard.sign_in())
    try:
        for message in messages:
            tab.send("42" + json.dumps(message).replace("PAGE", page))
    except ConnectionClosed:
        pass
    tab.close()  # which waits until the dashboard has read all of it
    dashboard.sign_in()  # it goes on
    written = dashboard.log[before:]
    assert "all is well" not in written
    assert "Traceback" not in written
    assert len(written) < 2_000


def test_a_tab_commands_no_other_page(dashboard: Dashboard) -> None:
    _, victim = dashboard.open_tab(dashboard.sign_in())
    tab, _ = dashboard.open_tab(dashboard.sign_in())
    tab.send("42" + json.dumps(["event", {"client_id": victim, "id": 1, "listener_id": "x", "args": []}]))
    assert close_code(tab) == 1008


def test_a_tab_that_sends_bytes_or_without_end_is_cut_off(dashboard: Dashboard) -> None:
    many: list[str | bytes] = ["3"] * (MAX_BURST + 300)
    for messages, code in (([b"\x00" * 100], 1008), (many, 1008), (["x" * 100_000], 1009)):
        tab, _ = dashboard.open_tab(dashboard.sign_in())
        with suppress(ConnectionClosed):
            for message in messages:
                tab.send(message)
        assert close_code(tab) == code


def test_many_events_are_few_messages_to_a_tab(dashboard: Dashboard) -> None:
    tab, _ = dashboard.open_tab(dashboard.sign_in())
    name, _, port = dashboard.hub_address.rpartition(":")

    def register() -> None:
        """Register 300 targets, each of which is lost again, which can be heard."""
        for number in range(300):
            with socket.create_connection((name, int(port)), DEADLINE_S) as sock:
                said = {"type": "register", "id": 1, "target_id": f"z{number}", "data": {"role": "target"}}
                sock.sendall(json.dumps(said).encode() + b"\n")
                assert b'"registered"' in sock.recv(4_096)

    began_s = time.monotonic()
    messages = 1
    with ThreadPoolExecutor() as executor:
        registering = executor.submit(register)
        while "of 300 targets" not in (message := str(tab.recv(DEADLINE_S))):
            messages += 1
            if message == "2":  # is somebody there?
                tab.send("3")
        registering.result()
    assert messages < 40 * (time.monotonic() - began_s)  # and 300 sounds, were each played
    tab.close()


@pytest.mark.slow
def test_there_are_so_many_tabs_and_no_more(tmp_path: Path) -> None:
    dashboard = Dashboard(tmp_path, "--limit", "tabs=3", password="")
    try:
        statuses = [dashboard.ask(dashboard.head("GET", "/")).split(maxsplit=2)[1] for _ in range(5)]
        assert statuses == ["200"] * 3 + ["503"] * 2
    finally:
        dashboard.close()


def test_the_key_to_the_hub_may_be_in_a_file(tmp_path: Path) -> None:
    key = "fleet:" + "5a" * 32
    key_file = tmp_path / "key"
    key_file.write_text(key + "\n")
    key_file.chmod(0o644)
    hub_address, listen = (f"{HOST}:{free_port()}" for _ in range(2))
    hub = Process(tmp_path, "hub", "--listen", hub_address, "--no-journal", SNYPER_KEY=key)
    dashboard = Process(
        tmp_path,
        *("dashboard", "--hub", hub_address, "--listen", listen, "--no-open"),
        *("--archive", str(tmp_path / "archive.sqlite3"), "--key-file", str(key_file)),
        SNYPER_KEY="fleet:" + "00" * 32,  # which the file takes the place of
    )
    try:
        log = tmp_path / "dashboard.log"
        until_s = time.monotonic() + DEADLINE_S
        while "connected to the hub" not in log.read_text():
            assert time.monotonic() < until_s, log.read_text()
            time.sleep(0.02)
        assert f"chmod 600 {key_file}" in log.read_text()
        command_line = Path(f"/proc/{dashboard.process.pid}/cmdline").read_bytes()
        assert key.encode()[6:] not in command_line + log.read_bytes()
    finally:
        assert (dashboard.end(), hub.end()) == (0, 0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")
def test_https_with_a_certificate(tmp_path: Path) -> None:
    certificate, key, password = tmp_path / "c.pem", tmp_path / "k.pem", tmp_path / "password"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
            ),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    password.write_text(PASSWORD + "\n")
    password.chmod(0o644)
    options = (
        "--certificate",
        str(certificate),
        "--certificate-key",
        str(key),
        "--password-file",
        str(password),
    )
    dashboard = Dashboard(tmp_path, *options, password="")
    try:
        assert dashboard.process.said["url"] == f"https://{HOST}:{dashboard.port}/"
        assert f"others may read {password}" in dashboard.log
        context = ssl.create_default_context(cafile=str(certificate))
        with context.wrap_socket(dashboard.dial(OWNER), server_hostname=HOST) as sock:
            sock.sendall(dashboard.guess(PASSWORD))
            answer = whole_answer(sock)
        assert re.search(r"set-cookie: __Host-snyper_\d+=.*; Secure\r\n", answer), answer
        with ExitStack() as stack:  # who speaks no TLS, or nothing
            plain = [stack.enter_context(dashboard.dial()) for _ in range(50)]
            for early in plain[:25]:
                early.sendall(b"GET / HTTP/1.1\r\n\r\n")
            # Heads first and bodies later, and heads that are never whole.
            guessing, half = (
                [
                    stack.enter_context(context.wrap_socket(dashboard.dial(address), server_hostname=HOST))
                    for _ in range(20)
                ]
                for address in ("127.0.1.2", "127.0.1.3")
            )
            for sock in half:
                sock.sendall(b"GET / HTTP/1.1\r\nX-")
            head, _, body = dashboard.guess("wrong").partition(b"\r\n\r\n")
            for part in (head + b"\r\n\r\n", body):
                for sock in guessing:
                    sock.sendall(part)
            statuses = [whole_answer(sock).split()[1] for sock in guessing]
            assert statuses.count("401") == FREE_GUESSES
            assert statuses.count("429") == 20 - FREE_GUESSES
            assert all(ended_after_s(late) < HEAD_S + SLACK_S for late in (*plain, *half))
        cookie = answer.partition("set-cookie: ")[2].partition(";")[0]
        for headers, status in (({"Sec_Fetch_Site": "cross-site"}, "403"), ({}, "200")):
            with context.wrap_socket(dashboard.dial(OWNER), server_hostname=HOST) as sock:
                sock.sendall(dashboard.head("GET", "/", Cookie=cookie, **headers))
                assert whole_answer(sock).split()[1] == status
        assert "Traceback" not in dashboard.log
    finally:
        dashboard.close()
        assert PASSWORD not in dashboard.log


@pytest.mark.slow
def test_a_system_without_descriptors(tmp_path: Path) -> None:
    """The dashboard goes on when it cannot take a connection, and says so once."""
    dashboard = Dashboard(tmp_path)
    pid = dashboard.process.process.pid
    try:
        dashboard.has_its_hub()
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        used = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 20, hard))
        with ExitStack() as stack:
            socks = [stack.enter_context(dashboard.dial()) for _ in range(100)]
            for sock in socks:
                sock.sendall(b"GET / HTTP/1.1\r\nX-")
            dashboard.sign_in()
        assert 1 <= dashboard.log.count("cannot take a connection") <= 7
        assert len(dashboard.log) < 4_000
    finally:
        dashboard.close()
