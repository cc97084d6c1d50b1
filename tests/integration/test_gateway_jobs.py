"""`snyper serve` with much to do, keys of requests, work that nobody waits for; its end and its start."""

import json
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from snyper.system.self_signed import make_certificate
from tests.integration.gateway_harness import Background, Serve
from tests.integration.harness import is_alive, wait_until
from tests.integration.stopwatch import running_s

FILE = "/api/process/file"
DATA = "/api/process/data"
FAR = "/api/far"
ASYNC = {"prefer": "respond-async"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    limits = ("places=6", "hold_s=1", "jobs=2", "unclaimed_s=1")
    serving = Serve(tmp_path_factory.mktemp("jobs"), *(f"--limit={limit}" for limit in limits))
    yield serving
    assert serving.end() == 0
    assert not (serving.state / "snyper-spool").exists()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Serve]]:
    """Start servers in one folder, none of which outlives its test."""
    started: list[Serve] = []

    def start_one(*arguments: str, **environment: str) -> Serve:
        started.append(Serve(tmp_path, *arguments, **environment))
        return started[-1]

    yield start_one
    for one in started:
        if one.process.process.poll() is None:
            one.end(signal.SIGKILL)


def health(server: Serve) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(server.url + "/health").json()
    return found


def keyed(key: str) -> dict[str, str]:
    return {"idempotency-key": key}


def document_client(server: Serve, readings: int) -> Any:
    """Send as the document's client does: three tries, a 5xx is one, after 1 s and 2 s."""
    for attempt in range(3):
        answer = server.post(FAR, json={"readings": readings})
        if answer.status_code < 500 or attempt == 2:
            return answer.json().get("anomalies", answer.status_code)
        time.sleep(2**attempt)


# --- much to do


def test_a_burst_of_three_times_the_capacity_loses_nothing(server: Serve) -> None:
    """There are places for 6, of which 2 are worked on: 18 come, and are refused while nothing goes on."""
    with ThreadPoolExecutor(18) as threads:
        with server.held("far"):
            sent = [threads.submit(document_client, server, number) for number in range(18)]
            wait_until(lambda: health(server)["waiting"] >= 4, "all places are taken")
            answer = server.post(FAR, json={"readings": "refused"})
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert sorted(one.result() for one in sent) == list(range(18))


def test_health_while_all_workers_are_busy(server: Serve) -> None:
    with server.held("far"):
        busy = [Background(server.post, FAR, json={"readings": n}) for n in range(2)]
        wait_until(lambda: health(server)["busy"] == 2, "all workers are busy")
        assert health(server)["status"] == "ok"
        ready = httpx.get(server.url + "/ready", timeout=30)
        assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
    assert [one.result().status_code for one in busy] == [200, 200]
    assert httpx.get(server.url + "/ready").status_code == 200


def test_a_body_that_takes_longer_than_a_request_is_held(server: Serve) -> None:
    """The hold is for who has to wait for a worker, not for a slow network: here it is 1 s."""
    began = time.monotonic()
    connection = server.connect()
    connection.putrequest("POST", DATA)
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    while time.monotonic() - began < 1.1:
        connection.send(b"1\r\n \r\n")
        time.sleep(0.05)
    connection.send(b'b\r\n{"data": 1}\r\n0\r\n\r\n')
    assert connection.getresponse().status == 200
    connection.close()


def test_a_refused_request_keeps_its_place(server: Serve) -> None:
    before = server.calls("process_data")
    with server.held("far"):
        busy = [Background(server.post, FAR, json={"readings": n}) for n in range(2)]
        wait_until(lambda: health(server)["busy"] == 2, "all workers are busy")
        assert server.post(DATA, json={"data": "refused"}).status_code == 503
        assert health(server)["waiting"] == 1
    assert server.post(DATA, json={"data": "refused"}).status_code == 200
    assert server.calls("process_data") == before + 1  # it was the same work
    for one in busy:
        one.result()


@pytest.mark.parametrize("size", [0, 100_000])
def test_who_hangs_up_while_receiving_leaves_nothing(server: Serve, size: int) -> None:
    before = server.calls("process")
    form = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%s\r\n--b--\r\n'
    connection = server.connect()
    content_type = {"content-type": "multipart/form-data; boundary=b"}
    connection.request("POST", FILE, body=form % bytes(10_000_000 + size), headers=content_type)
    if size:
        assert len(connection.getresponse().read(size)) == size
    else:
        wait_until(lambda: server.calls("process") == before + 1, "it is worked on")
    connection.close()
    server.until_clean()


# --- keys of requests


def test_a_repeat_with_a_key_runs_once(server: Serve) -> None:
    before = server.calls("process")
    request: dict[str, Any] = {"files": {"file": ("a", b"x")}, "data": {"options": "new b.csv"}}
    first = server.post(FILE, **request, headers=keyed('"k-1"'))
    second = server.post(FILE, **request, headers=keyed("k-1"))
    assert (first.status_code, first.content) == (second.status_code, second.content) == (200, b"{}")
    assert first.headers["content-disposition"] == second.headers["content-disposition"]
    assert server.calls("process") == before + 1
    other = server.post(FILE, files={"file": ("a", b"y")}, headers=keyed("k-1"))
    assert other.status_code == 422
    assert "Idempotency-Key" in other.json()["detail"]
    assert server.calls("process") == before + 1
    server.until_clean()


def test_a_repeat_waits_for_the_first(server: Serve) -> None:
    before = server.calls("far")
    with server.held("far"):
        first = Background(server.post, FAR, json={"readings": 1}, headers=keyed("k-2"))
        wait_until(lambda: server.calls("far") == before + 1, "it runs")
        second = Background(server.post, FAR, json={"readings": 1}, headers=keyed("k-2"))
        assert server.post(FAR, json={"readings": 2}, headers=keyed("k-2")).status_code == 422
    assert first.result().content == second.result().content
    assert server.calls("far") == before + 1


def test_a_failure_is_not_kept(server: Serve) -> None:
    before = server.calls("process_data")
    for _ in range(2):
        answer = server.post(DATA, json={"data": "raise"}, headers=keyed("k-3"))
        assert answer.status_code == 500
    assert server.calls("process_data") == before + 2


def test_a_service_refuses_once_for_a_key(server: Serve) -> None:
    before, refused = server.calls("process_data"), keyed("refused")
    answers = [server.post(DATA, json={"data": "invalid"}, headers=refused) for _ in range(2)]
    job = server.post(DATA, json={"data": "invalid"}, headers={**refused, **ASYNC}).headers["location"]
    wait_until(lambda: httpx.get(server.url + job).json()["state"] == "failed", "it failed")
    assert httpx.get(server.url + job).json()["detail"] == "another word"
    for answer in (*answers, httpx.get(server.url + job + "/result")):
        assert (answer.status_code, answer.json()) == (422, {"detail": "another word"})
    assert server.calls("process_data") == before + 1


def test_with_a_key_work_is_done_for_who_hung_up(server: Serve) -> None:
    before = server.calls("process_data")
    with server.held("far"):
        busy = [Background(server.post, FAR, json={"readings": n}) for n in range(2)]
        wait_until(lambda: health(server)["busy"] == 2, "all workers are busy")
        connection = server.connect()
        connection.request("POST", DATA, body='{"data": "away"}', headers=keyed("k-4"))
        wait_until(lambda: health(server)["waiting"] == 1, "it waits")
        connection.close()
    for one in busy:
        one.result()
    wait_until(lambda: server.calls("process_data") == before + 1, "it is done all the same")
    again = server.post(DATA, content='{"data": "away"}', headers=keyed("k-4"))
    assert again.json()["result"]["data"] == "away"
    assert server.calls("process_data") == before + 1


# --- work that nobody waits for


def test_a_job_from_its_place_to_its_result(server: Serve) -> None:
    with server.held("far"):
        jobs = [server.post(FAR, json={"readings": n}, headers=ASYNC) for n in range(2)]
        assert [job.status_code for job in jobs] == [202, 202]
        assert jobs[0].headers["preference-applied"] == "respond-async"
        urls = [server.url + job.headers["location"] for job in jobs]
        wait_until(lambda: httpx.get(urls[1]).json()["state"] == "running", "it runs")
        wait_until(lambda: httpx.get(urls[1]).json()["progress"] == 0.25, "it tells how far it is")
        assert server.post(FAR, json={"readings": 9}, headers=ASYNC).status_code == 503
        assert httpx.get(urls[1] + "/result").status_code == 409
        waiting = Background(server.post, FAR, json={"readings": 3}, headers=keyed("k-5"))
        wait_until(lambda: health(server)["waiting"] == 1, "it waits")
    for n, url in enumerate(urls):
        wait_until(lambda url=url: httpx.get(url).json()["state"] == "done", "it is done")  # type: ignore[misc]
        assert httpx.get(server.url + httpx.get(url).json()["result"]).json() == {"anomalies": n}
        assert httpx.delete(url).status_code == 204
        assert httpx.get(url).status_code == 404
    waiting.result()


def test_a_job_in_the_queue_has_a_place(server: Serve) -> None:
    with server.held("far"):
        busy = [Background(server.post, FAR, json={"readings": n}) for n in range(2)]
        wait_until(lambda: health(server)["busy"] == 2, "all workers are busy")
        urls = [
            server.url + server.post(DATA, json={"data": n}, headers=ASYNC).headers["location"]
            for n in range(2)
        ]
        assert [httpx.get(url).json()["place"] for url in urls] == [0, 1]
        assert httpx.delete(urls[0]).status_code == 204
        assert httpx.get(urls[1]).json() == {
            "id": urls[1].rpartition("/")[2],
            "state": "queued",
            "progress": 0.0,
            "place": 0,
        }
        httpx.delete(urls[1])
    for one in busy:
        one.result()


def test_a_job_that_is_deleted_is_killed_within_two_seconds(server: Serve) -> None:
    before = server.calls("far")
    with server.held("far"):
        url = server.url + server.post(FAR, json={"readings": "x"}, headers=ASYNC).headers["location"]
        wait_until(lambda: server.calls("far") == before + 1, "it runs")
        began = running_s()
        assert httpx.delete(url).status_code == 204
        assert running_s() - began < 2
        wait_until(lambda: health(server)["busy"] == 0, "its worker is free")


def test_a_job_that_fails_says_why(server: Serve) -> None:
    url = server.url + server.post(DATA, json={"data": "raise"}, headers=ASYNC).headers["location"]
    wait_until(lambda: httpx.get(url).json()["state"] == "failed", "it failed")
    assert httpx.get(url).json()["detail"] == "RuntimeError: it is broken"
    assert httpx.get(url + "/result").status_code == 500


def test_the_same_job_twice_is_one(server: Serve) -> None:
    first, second = (
        server.post(DATA, json={"data": "one"}, headers={**ASYNC, **keyed("k-6")}) for _ in range(2)
    )
    assert first.headers["location"] == second.headers["location"]
    url = server.url + first.headers["location"]
    wait_until(lambda: httpx.get(url).json()["state"] == "done", "it is done")
    again = server.post(DATA, json={"data": "one"}, headers={**ASYNC, **keyed("k-6")})
    assert again.headers["location"] == first.headers["location"]
    assert httpx.get(url + "/result").json()["result"]["data"] == "one"


def test_what_is_done_stays_so_while_it_is_asked_for_again(server: Serve) -> None:
    def ask(_: int = 0) -> str:
        answer = server.post(DATA, json={"data": "one"}, headers={**ASYNC, **keyed("k-7")})
        assert answer.status_code == 202
        return server.url + answer.headers["location"]

    url = ask()
    wait_until(lambda: httpx.get(url).json()["state"] == "done", "it is done")
    with ThreadPoolExecutor(4) as pool:
        asking = pool.map(ask, range(100))
        for _ in range(100):
            assert httpx.get(url).json()["state"] == "done"
            assert httpx.get(url + "/result").status_code == 200
        assert set(asking) == {url}


# --- its end, and its start


def test_results_outlive_the_process_that_is_killed(start: Callable[..., Serve]) -> None:
    server = start()
    request: dict[str, Any] = {"files": {"file": ("a", b"x")}, "headers": keyed("over")}
    assert server.post(FILE, **request).content == b"x"
    job = server.post(DATA, json={"data": 5}, headers=ASYNC).headers["location"]
    wait_until(lambda: httpx.get(server.url + job).json()["state"] == "done", "it is done")
    connection = server.connect()
    with server.held("process"):
        connection.request(
            *("POST", FILE),
            body=b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nyy\r\n--b--\r\n',
            headers={"content-type": "multipart/form-data; boundary=b"},
        )
        wait_until(lambda: server.calls("process") == 2, "another is under way")
        assert len(server.files()) == 1
        server.end(signal.SIGKILL)
    connection.close()

    server = start()
    assert not server.files()
    assert server.post(FILE, **request).content == b"x"
    assert server.calls("process") == 2
    assert httpx.get(server.url + job + "/result").json()["result"]["data"] == 5
    assert server.end() == 0


def test_sigterm_lets_what_runs_end(start: Callable[..., Serve]) -> None:
    server = start()
    with server.held("far"):
        running = [Background(server.post, FAR, json={"readings": n}) for n in range(2)]
        wait_until(lambda: health(server)["busy"] == 2, "all workers are busy")
        queued = Background(server.post, DATA, json={"data": 1})
        wait_until(lambda: health(server)["waiting"] == 1, "one waits")
        server.process.process.send_signal(signal.SIGTERM)
        assert queued.result().status_code == 503
    assert [one.result().status_code for one in running] == [200, 200]
    assert server.process.process.wait(20) == 0
    server.end()


def test_ctrl_c_ends_it_within_two_seconds(start: Callable[..., Serve]) -> None:
    server = start()
    with server.held("far"):
        connection = server.connect()
        connection.request("POST", FAR, body=json.dumps({"readings": 1}))
        wait_until(lambda: health(server)["busy"] == 1, "a worker is busy")
        began = running_s()
        assert server.end(signal.SIGINT) == 0
        assert running_s() - began < 2.5  # with what the machine itself needs
    assert not is_alive(server.pid)
    connection.close()


# --- who may ask


@pytest.mark.slow
def test_keys_and_https(start: Callable[..., Serve], tmp_path: Path) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(make_certificate())
    server = start("--certificate", str(certificate), "--limit", "guesses=2", SNYPER_SERVICE_KEY="sesame")
    assert server.url.startswith("https://")
    context = ssl.create_default_context(cafile=str(certificate))
    context.check_hostname = False
    with httpx.Client(verify=context, base_url=server.url) as client:
        assert client.get("/health").status_code == 200
        refused = client.post(DATA, json={"data": 1})
        assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
        right = {"authorization": "Bearer sesame"}
        assert client.post(DATA, json={"data": 1}, headers=right).status_code == 200
        wrong = [
            client.post(DATA, json={"data": 1}, headers={"authorization": "Bearer x"}).status_code
            for _ in range(4)
        ]
        assert wrong == [401, 401, 429, 429]
        assert client.post(DATA, json={"data": 1}, headers=right).status_code == 200  # whoever guesses beside
    with socket.create_connection(("127.0.0.1", server.port)) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert b"200" not in sock.recv(100)
    assert server.end() == 0
