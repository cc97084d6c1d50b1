"""`snyper gateway --arrays`: arrays over HTTP, for the clients that exist and for who wants more."""

import asyncio
import io
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy
import pytest
import requests

from tests.integration.arrays_harness import Arrays, ended_gateways, saved


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrays]:
    running = Arrays(tmp_path_factory.mktemp("arrays"))
    yield running
    assert running.end() == 0
    assert running.parts() == []


@pytest.fixture(autouse=True)
def _no_gateway_is_left() -> Iterator[None]:
    with ended_gateways():
        yield


def test_an_array_goes_there_and_back_by_requests(gateway: Arrays) -> None:
    array = numpy.random.default_rng(1).normal(size=(100, 50))
    files = {"file": ("array.npy", io.BytesIO(saved(array)), "application/octet-stream")}
    uploaded = requests.post(f"{gateway.url}/upload", files=files, timeout=30)
    index = uploaded.json()["index"]
    assert (uploaded.status_code, uploaded.json()) == (
        200,
        {"status": "success", "shape": [100, 50], "dtype": "float64", "index": index},
    )
    listed = requests.get(f"{gateway.url}/arrays", timeout=30).json()
    assert listed["count"] == len(listed["arrays"])
    assert listed["arrays"][index] == {"index": index, "shape": [100, 50], "dtype": "float64"}
    got = requests.get(f"{gateway.url}/array/{index}", timeout=30).json()
    assert got.keys() == {"shape", "dtype", "data"}
    assert (numpy.array(got["data"], dtype=got["dtype"]) == array).all()
    assert (gateway.loaded(f"/array/{index}") == array).all()


def test_an_array_goes_there_and_back_by_urllib(gateway: Arrays) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.npy"\r\n\r\n%b\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    request = urllib.request.Request(f"{gateway.url}/upload", body % saved([1, 2]), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        index = json.load(answer)["index"]
    with urllib.request.urlopen(f"{gateway.url}/array/{index}", timeout=30) as answer:
        assert json.load(answer) == {"shape": [2], "dtype": "int64", "data": [1, 2]}


def test_health(gateway: Arrays) -> None:
    before = gateway.get("/health").json()
    assert before["status"] == "healthy"
    gateway.store([1, 2])
    assert gateway.get("/health").json()["arrays_stored"] == before["arrays_stored"] + 1


@pytest.mark.parametrize("path", ["/array/99999", "/array/-1", "/array/nobody", "/array/" + "9" * 60])
def test_what_is_absent(gateway: Arrays, path: str) -> None:
    for method in ("GET", "DELETE"):
        answer = gateway.request(method, path)
        assert (answer.status_code, answer.json()["status"]) == (404, "error")
        assert answer.json().keys() == {"status", "message"}


def test_an_array_has_a_name_too(gateway: Arrays) -> None:
    gateway.store([1.0], "probe 7.npy")
    gateway.store([2.0], "probe 7.npy")
    assert gateway.rebuilt("/array/probe 7") == [2.0]
    assert gateway.rebuilt("/array/probe%207.npy") == [2.0]
    gateway.store([3.0], "5.npy")  # which as an index would mean another
    assert gateway.rebuilt("/array/5.npy") == [3.0]
    named = gateway.upload(saved([4.0]), data={"name": "Fühler"})
    assert gateway.rebuilt("/array/Fühler") == [4.0]
    assert gateway.get(f"/arrays?after={named.json()['index'] - 1}").json()["arrays"][0]["name"] == "Fühler"


def test_the_name_that_the_list_shows_means_that_array(gateway: Arrays) -> None:
    gateway.store([1.0], "trap.npy")
    second = gateway.store([2.0], "trap.npy.npy")
    listed = gateway.get(f"/arrays?limit=1&after={second - 1}").json()["arrays"]
    assert [one["name"] for one in listed] == ["trap.npy"]
    assert gateway.rebuilt("/array/trap.npy") == [2.0]
    assert gateway.request("DELETE", "/array/trap.npy").json()["index"] == second
    assert gateway.rebuilt("/array/trap.npy") == [1.0]


def test_a_wrong_method_is_told_all_that_the_path_takes(gateway: Arrays) -> None:
    answer = gateway.request("PUT", "/array/1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD")


def test_a_deleted_index_is_never_used_again(tmp_path: Path) -> None:
    gateway = Arrays(tmp_path)
    assert [gateway.store([number]) for number in range(3)] == [0, 1, 2]
    for index in (2, 0):
        assert gateway.request("DELETE", f"/array/{index}").json() == {"status": "success", "index": index}
        assert gateway.get(f"/array/{index}").status_code == 404
        assert not (gateway.folder / f"{index}.npy").exists()
    assert gateway.end() == 0
    gateway = Arrays(tmp_path)
    assert gateway.store([3]) == 3
    assert [one["index"] for one in gateway.get("/arrays").json()["arrays"]] == [1, 3]
    assert gateway.get("/health").json()["arrays_stored"] == 2
    assert gateway.end() == 0


def test_pages(tmp_path: Path) -> None:
    gateway = Arrays(tmp_path)
    for number in range(5):
        gateway.store(numpy.zeros(number), f"a{number}.npy")
    gateway.request("DELETE", "/array/1")
    first = gateway.get("/arrays?limit=2").json()
    assert (first["count"], first["next"]) == (4, 2)
    assert [one["index"] for one in first["arrays"]] == [0, 2]
    assert first["arrays"][1].items() >= {"name": "a2", "shape": [2], "dtype": "float64", "bytes": 16}.items()
    second = gateway.get(f"/arrays?limit=2&after={first['next']}").json()
    assert ([one["index"] for one in second["arrays"]], second["next"]) == ([3, 4], None)
    newest = gateway.get("/arrays?limit=4&before=9").json()
    assert ([one["index"] for one in newest["arrays"]], newest["next"]) == ([4, 3, 2, 0], None)
    beyond = gateway.get("/arrays?limit=2&after=4").json()
    assert (beyond["arrays"], beyond["next"]) == ([], None)
    for query in ("limit=0", "limit=1001", "limit=x", "after=x", "&".join(f"a{n}=1" for n in range(30))):
        answer = gateway.get(f"/arrays?limit=1&{query}")
        assert (answer.status_code, answer.json()["status"]) == (400, "error"), query
    assert gateway.end() == 0


@pytest.mark.parametrize("text", ["10:20", "::2,3", "-1", ":,-1", "5:1", "90:200", "1:90:7,::3"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_slices(gateway: Arrays, text: str, order: str) -> None:
    array = numpy.array(numpy.arange(5_000.0).reshape(100, 50), order="C" if order == "C" else "F")
    index = gateway.store(array)
    expected = eval(f"array[{text}]")
    for found in (
        gateway.loaded(f"/array/{index}?slice={text}"),
        gateway.rebuilt(f"/array/{index}?slice={text}"),
    ):
        assert found.shape == expected.shape
        assert (found == expected).all()


@pytest.mark.parametrize("text", ["100", "-101", "1,2,3", "", "::0", "::-1", "a", "1:2:3:4", "…", "1" * 500])
def test_what_is_no_slice(gateway: Arrays, text: str) -> None:
    index = gateway.store(numpy.zeros((100, 50)))
    answer = gateway.get(f"/array/{index}", params={"slice": text})
    assert (answer.status_code, answer.json()["status"]) == (400, "error")


def test_bytes_as_they_are_are_an_array_too(gateway: Arrays) -> None:
    array = numpy.arange(6, dtype=">i2").reshape(2, 3)
    answer = gateway.request(
        "POST", "/upload?name=raw", content=saved(array), headers={"content-type": "application/x-npy"}
    )
    assert answer.json()["dtype"] == ">i2"
    assert (gateway.loaded("/array/raw") == array).all()
    browser = gateway.get("/array/raw?format=npy")
    assert browser.headers["content-disposition"] == 'attachment; filename="raw.npy"'


@pytest.mark.parametrize(
    ("accept", "comes"),
    [
        ("*/*", "json"),
        ("application/x-npy, application/json", "x-npy"),
        ("application/json;q=0.5, Application/X-NPY; q=0.9", "x-npy"),
        ("application/json, application/x-npy;q=0.9", "json"),
        ("application/x-npy;q=0", "json"),
        ("application/x-npy;q=nan", "json"),
        ("application/x-npy;q=much", "json"),
    ],
)
def test_a_client_has_what_it_would_rather(gateway: Arrays, accept: str, comes: str) -> None:
    answer = gateway.get(f"/array/{gateway.store([1, 2])}", headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, f"application/{comes}")


def test_a_repeated_request_stores_once(gateway: Arrays) -> None:
    key = {"idempotency-key": "once"}
    first = gateway.upload(saved([1]), headers=key)
    assert gateway.upload(saved([1]), headers=key).json() == first.json()
    other = gateway.upload(saved([2]), headers=key)
    assert (other.status_code, other.json()["status"]) == (422, "error")


def test_two_gateways_do_not_share_a_folder(gateway: Arrays) -> None:
    with pytest.raises(AssertionError, match="another process serves the arrays in"):
        Arrays(gateway.folder.parent)


async def test_many_at_once(gateway: Arrays) -> None:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=30) as client:

        async def there_and_back(number: int) -> int:
            array = numpy.full(number + 1, number)
            answer = await client.post("/upload", files={"file": ("many.npy", saved(array))})
            index: int = answer.json()["index"]
            assert (await client.get(f"/array/{index}")).json()["data"] == array.tolist()
            return index

        indices = await asyncio.gather(*map(there_and_back, range(40)))
        assert len(set(indices)) == 40


def test_an_array_that_is_deleted_while_it_is_sent(gateway: Arrays) -> None:
    array = numpy.arange(2_000_000.0)
    index = gateway.store(array)
    with httpx.stream("GET", f"{gateway.url}/array/{index}?format=npy", timeout=30) as answer:
        pieces = answer.iter_raw()
        begin = next(pieces)
        assert gateway.request("DELETE", f"/array/{index}").status_code == 200
        content = begin + b"".join(pieces)
    assert (numpy.load(io.BytesIO(content)) == array).all()


def test_a_head_alone(gateway: Arrays) -> None:
    index = gateway.store(numpy.zeros(1_000_000))
    answer = gateway.request("HEAD", f"/array/{index}?format=npy")
    assert (answer.status_code, answer.headers["content-length"]) == (200, "8000128")
    assert gateway.request("HEAD", f"/array/{index}").status_code == 200
    assert gateway.request("HEAD", "/array/nobody").status_code == 404
