"""What existing clients of arrays are tested with: the assertions of their own suite, over HTTP."""

import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy
import pytest

from tests.integration.arrays_harness import Arrays, saved


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrays]:
    gateway = Arrays(tmp_path_factory.mktemp("arrays"), "--demo-signal")
    yield gateway
    assert gateway.end() == 0


@pytest.fixture
def client(running: Arrays) -> Iterator[httpx.Client]:
    """A client of a gateway that has no arrays yet, and does not stream."""
    with httpx.Client(base_url=running.url, timeout=30) as client:
        for one in client.get("/arrays").json()["arrays"]:
            client.delete(f"/array/{one['index']}")
        client.post("/control/stop")
        yield client


def upload(client: httpx.Client, array: numpy.ndarray[Any, Any], name: str = "test.npy") -> httpx.Response:
    buffer = io.BytesIO()
    numpy.save(buffer, array)
    buffer.seek(0)
    return client.post("/upload", files={"file": (name, buffer, "application/octet-stream")})


def test_health_is_healthy(client: httpx.Client) -> None:
    answer = client.get("/health")
    assert answer.status_code == 200
    data = answer.json()
    assert data["status"] == "healthy"
    assert data["streaming"] is False
    assert data["connections"] == 0
    assert data["arrays_stored"] == 0


def test_health_counts_arrays(client: httpx.Client) -> None:
    upload(client, numpy.zeros(3))
    assert client.get("/health").json()["arrays_stored"] == 1


def test_health_tells_whether_it_streams(client: httpx.Client) -> None:
    client.post("/control/start")
    assert client.get("/health").json()["streaming"] is True


def test_an_upload(client: httpx.Client) -> None:
    answer = upload(client, numpy.array([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert answer.status_code == 200
    data = answer.json()
    assert (data["status"], data["shape"], data["dtype"]) == ("success", [5], "float64")
    assert type(data["index"]) is int


def test_an_upload_of_two_dimensions(client: httpx.Client) -> None:
    assert upload(client, numpy.random.default_rng(1).normal(size=(10, 20))).json()["shape"] == [10, 20]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64", "uint8", "bool"])
def test_an_upload_of_each_type(client: httpx.Client, dtype: str) -> None:
    answer = upload(client, numpy.ones((2, 2), dtype))
    assert (answer.status_code, answer.json()["dtype"]) == (200, dtype)


def test_an_upload_that_is_no_array(client: httpx.Client) -> None:
    answer = client.post(
        "/upload", files={"file": ("test.npy", b"not a numpy file", "application/octet-stream")}
    )
    assert answer.status_code == 400
    assert answer.json()["status"] == "error"
    assert "message" in answer.json()


def test_an_upload_without_a_file(client: httpx.Client) -> None:
    answer = client.post("/upload", files={"other": ("test.npy", saved([1]))})
    assert answer.status_code == 422


def test_the_list_of_nothing(client: httpx.Client) -> None:
    assert client.get("/arrays").json() == {"count": 0, "arrays": []}


def test_the_list(client: httpx.Client) -> None:
    indices = [upload(client, numpy.zeros((number, 2))).json()["index"] for number in (1, 2, 3)]
    data = client.get("/arrays").json()
    assert data["count"] == 3
    assert [one["index"] for one in data["arrays"]] == indices
    assert [one["shape"] for one in data["arrays"]] == [[1, 2], [2, 2], [3, 2]]
    assert {one["dtype"] for one in data["arrays"]} == {"float64"}


def test_an_array_by_its_index(client: httpx.Client) -> None:
    array = numpy.array([[1, 2, 3], [4, 5, 6]])
    index = upload(client, array).json()["index"]
    answer = client.get(f"/array/{index}")
    assert answer.status_code == 200
    data = answer.json()
    assert (data["shape"], data["dtype"], data["data"]) == ([2, 3], "int64", [[1, 2, 3], [4, 5, 6]])
    assert (numpy.array(data["data"], dtype=data["dtype"]) == array).all()


@pytest.mark.parametrize("index", ["999", "-1"])
def test_an_array_that_is_not_there(client: httpx.Client, index: str) -> None:
    answer = client.get(f"/array/{index}")
    assert answer.status_code == 404
    assert answer.json()["status"] == "error"


def test_start_and_stop(client: httpx.Client) -> None:
    assert client.post("/control/start").json() == {"status": "streaming started"}
    assert client.post("/control/start").json() == {"status": "streaming started"}
    assert client.post("/control/stop").json() == {"status": "streaming stopped"}
    assert client.get("/health").json()["streaming"] is False
