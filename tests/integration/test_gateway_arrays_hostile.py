"""What a gateway answers that stores arrays, whatever comes: 4xx in its shape, and nothing is kept of it."""

import gzip
import io
import itertools
import json
import os
import pickle
import resource
import signal
import socket
import sys
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy
import pytest

from tests.integration.arrays_harness import Arrays, ended_gateways, saved
from tests.integration.harness import at_length, peak_kb, wait_until

FORM = {"content-type": "multipart/form-data; boundary=b"}
BEGIN = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.npy"\r\n\r\n'
END = b"\r\n--b--\r\n"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrays]:
    running = Arrays(tmp_path_factory.mktemp("arrays"), "--limit", "array_mb=60")
    yield running
    assert running.end() == 0


@pytest.fixture(autouse=True)
def _no_gateway_is_left() -> Iterator[None]:
    with ended_gateways():
        yield


@pytest.fixture(autouse=True)
def _nothing_is_left(gateway: Arrays) -> Iterator[None]:
    yield
    wait_until(lambda: gateway.parts() == [], "no litter")
    count = gateway.get("/health").json()["arrays_stored"]
    assert len(list(gateway.folder.glob("*.npy"))) == count == gateway.get("/arrays").json()["count"]


def refused(answer: httpx.Response, *statuses: int) -> str:
    """Check that an answer is an error as clients know it; return its message."""
    assert answer.status_code in statuses, answer.text
    may_have = {"detail"} if answer.status_code == 422 else set()
    assert answer.json().keys() - may_have == {"status", "message"}
    assert answer.json()["status"] == "error"
    message: str = answer.json()["message"]
    return message


def headed(shape: str, descr: str = "'<f8'", more: bytes = b"") -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + more


def zipped() -> bytes:
    file = io.BytesIO()
    numpy.savez(file, a=numpy.zeros(3))
    return file.getvalue()


def packed_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(1_000_000))
    return file.getvalue()


def old_object() -> bytes:
    file = io.BytesIO()
    numpy.save(file, numpy.array([{"a": 1}], dtype=object), allow_pickle=True)
    return file.getvalue()


HOSTILE = {
    "nothing": b"",
    "text": b"no array at all",
    "a million bytes of nothing": bytes(1_000_000),
    "npz": zipped(),
    "a packed zip": packed_zip(),
    "a pickle": pickle.dumps(numpy.zeros(3)),
    "objects": old_object(),
    "10^12 elements": headed("(1000000, 1000000)", more=bytes(64)),
    "10^12 bytes of one axis": headed("(1000000000000,)", "'|u1'"),
    "a product of 2^64": headed("(4294967296, 4294967296)"),
    "a product of 2^64 bytes": headed("(2305843009213693952,)"),
    "a product that is 0 in 64 bits": headed("(4294967296, 4294967296, 4294967296)"),
    "no element of 2^62": headed("(0, 4611686018427387904)"),
    "negative": headed("(-1,)"),
    "minus zero": headed("(-0,)"),
    "bool": headed("(True, 3)", more=bytes(24)),
    "a million dimensions": headed("(" + "1," * 32_000 + ")"),
    "33 dimensions": headed("(" + "1," * 33 + ")", more=bytes(8)),
    "a head of 4 GiB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
    "version 9.9": b"\x93NUMPY\x09\x09" + bytes(100),
    "code": headed("__import__('os').abort()"),
    "nested": headed("(" * 30_000 + ")" * 30_000),
    "no head that ends": b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 1000,
    "structured": saved(numpy.zeros(3, [("a", "<f8"), ("b", "<i4")])),
    "complex": saved(numpy.zeros(3, complex)),
    "datetime": saved(numpy.zeros(3, "M8[ns]")),
    "timedelta": saved(numpy.zeros(3, "m8[s]")),
    "texts": saved(numpy.array(["abc"])),
    "bytes": saved(numpy.array([b"abc"])),
    "long double": saved(numpy.zeros(3, "<f16")),
    "a byte too few": saved(numpy.zeros(3))[:-1],
    "a byte too many": saved(numpy.zeros(3)) + b"\0",
    "two arrays": saved(numpy.zeros(3)) * 2,
    "more than the limit": headed("(8000000,)"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_no_array(gateway: Arrays, kind: str) -> None:
    content = HOSTILE[kind]
    in_form = refused(gateway.upload(content), 400)
    bare = gateway.request("POST", "/upload", content=content, headers={"content-type": "application/x-npy"})
    assert refused(bare, 400) == in_form


def test_a_file_that_is_cut_anywhere(gateway: Arrays) -> None:
    content = saved(numpy.arange(3, dtype="<i2"))
    with httpx.Client(base_url=gateway.url, timeout=30) as client:
        for end in range(len(content)):
            refused(client.post("/upload", files={"file": ("a.npy", content[:end])}), 400)
        assert client.post("/upload", files={"file": ("a.npy", content)}).status_code == 200


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", ">i2", "<u4", ">u8", "<i8", "<f2", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_type_comes_back(gateway: Arrays, dtype: str, order: str) -> None:
    array = numpy.array((numpy.random.default_rng(3).normal(size=(3, 4, 5)) * 90).astype(dtype))
    array = numpy.array(array, order="F" if order == "F" else "C")
    index = gateway.store(array)
    for found in (gateway.loaded(f"/array/{index}"), gateway.rebuilt(f"/array/{index}")):
        assert (found == array).all()
        assert found.dtype == array.dtype
    assert gateway.loaded(f"/array/{index}?slice=1").shape == (4, 5)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format(gateway: Arrays, version: tuple[int, int]) -> None:
    answer = gateway.upload(saved(numpy.arange(3), version))
    assert gateway.rebuilt(f"/array/{answer.json()['index']}").tolist() == [0, 1, 2]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0, 2), (1, 1, 1), (65_536, 0), (1,) * 32])
def test_shapes_without_much_in_them(gateway: Arrays, shape: tuple[int, ...]) -> None:
    index = gateway.store(numpy.ones(shape))
    data = gateway.get(f"/array/{index}").json()
    assert (tuple(data["shape"]), data["data"]) == (shape, numpy.ones(shape).tolist())
    assert gateway.loaded(f"/array/{index}").shape == shape
    assert gateway.get("/arrays?limit=1&previews=1&after=" + str(index - 1)).status_code == 200


def test_what_json_has_no_number_for(gateway: Arrays) -> None:
    array = numpy.array([[1.5, numpy.nan], [numpy.inf, -numpy.inf]], "<f4")
    index = gateway.store(array)
    text = gateway.get(f"/array/{index}").text
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))["data"] == [
        [1.5, None],
        ["Infinity", "-Infinity"],
    ]
    assert numpy.array_equal(gateway.rebuilt(f"/array/{index}"), array, equal_nan=True)
    [entry] = gateway.get(f"/arrays?limit=1&previews=1&after={index - 1}").json()["arrays"]
    assert entry["preview"] == {"low": [1.5, None], "high": [1.5, None], "image": ["8000", "0000"]}


def test_forms_of_every_kind(gateway: Arrays) -> None:
    content = saved(numpy.arange(4))

    def post(body: Any, **headers: str) -> httpx.Response:
        return gateway.request("POST", "/upload", content=body, headers={**FORM, **headers})

    absent: tuple[dict[str, Any], ...] = ({}, {"json": {"file": 1}}, {"data": {"file": "text"}})
    for given in absent:
        answer = gateway.request("POST", "/upload", **given)
        refused(answer, 422)
        assert answer.json()["detail"][0]["loc"] == ["body", "file"]
    refused(
        gateway.request("POST", "/upload", content=content, headers={"content-type": "multipart/form-data"}),
        415,
    )
    refused(post(b""), 400)
    refused(post(b"--b--\r\n"), 400, 422)
    refused(post(BEGIN), 400)
    refused(post(BEGIN + content), 400)
    refused(post(BEGIN + content + b"\r\n--c--\r\n"), 400)
    refused(post(b"--b\r\n" * 200), 400)
    assert "'file' is missing" in refused(
        post((BEGIN + content + END).replace(b'name="file"', b'name="data"')), 422
    )
    assert "text" in refused(post(BEGIN.replace(b'; filename="a.npy"', b"") + content + END), 422)
    refused(post(BEGIN + content + b"\r\n" + BEGIN + content + END), 422)
    many = b"".join(b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n' for _ in range(101))
    refused(post(many + BEGIN + content + END), 400)
    long = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + bytes(300_000) + b"\r\n"
    refused(post(long + BEGIN + content + END), 413)
    refused(post(b"--b\r\nX: " + b"y" * 300_000 + b"\r\n\r\n"), 400, 413)
    refused(post(gzip.compress(BEGIN + content + END)[:-9], **{"content-encoding": "gzip"}), 400)
    refused(post(BEGIN + content + END, **{"content-encoding": "br"}), 415)
    packed = post(gzip.compress(BEGIN + content + END), **{"content-encoding": "gzip"})
    piecewise = post(bytes([one]) for one in BEGIN + content + END)
    for answer in (packed, piecewise):
        assert gateway.rebuilt(f"/array/{answer.json()['index']}").tolist() == [0, 1, 2, 3]


NAMES = [
    "",
    ".",
    "..",
    "../../etc/passwd",
    "a\0b",
    "x" * 300,
    'a"b',
    "a b",
    " ",
    "näme",
    "名前",
    "\u202e",
    "-1",
    "007",
]
NAMES += [
    "a/b.npy",
    "C:\\a.npy",
    "CON",
    ".npy",
    ".hidden",
    "a%2Fb",
    "x.NPY",
    "é" * 200,
    "\udcff",
    "9" * 30,
    "~",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_every_kind(gateway: Arrays, name: str) -> None:
    name = name.encode("utf-8", "replace").decode()
    answer = gateway.upload(saved([1.0]), name or "x", data={"name": name})
    index = answer.json()["index"]
    assert answer.status_code == 200
    [entry] = gateway.get(f"/arrays?limit=1&after={index - 1}").json()["arrays"]
    assert "/" not in entry["name"]
    assert gateway.rebuilt(f"/array/{quote(entry['name'], safe='')}") == [1.0]


@pytest.mark.parametrize(
    "path",
    [
        "%00",
        "%2e%2e%2fa",
        "..%2f..%2fetc%2fpasswd",
        "1%00",
        "%ff%fe",
        "１",
        "x" * 5_000,
        "1e3",
        "0x0",
        "",
        "a/b",
    ],
)
def test_paths_of_every_kind(gateway: Arrays, path: str) -> None:
    """Of which some are made into names that there are by now, where an upload has them."""
    for method in ("GET", "DELETE"):
        refused(gateway.request(method, f"/array/{path}"), 404)


def test_what_is_announced_too_large_is_not_read(gateway: Arrays) -> None:
    """Nor what is announced as smaller and goes on."""
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as sock:
        head = f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {10**12}\r\n"
        sock.sendall((head + "Content-Type: application/x-npy\r\n\r\n").encode())
        assert sock.recv(1000).startswith(b"HTTP/1.1 413")
    array = headed("(8,)")

    def body() -> Iterator[bytes]:
        yield array
        while True:
            yield bytes(100_000)

    answer = gateway.request("POST", "/upload", content=body(), headers={"content-type": "application/x-npy"})
    assert "more bytes" in refused(answer, 400)


@pytest.mark.parametrize("sent", [0, 1, 60, 150, 300_000])
def test_who_hangs_up_while_sending_leaves_nothing(gateway: Arrays, sent: int) -> None:
    body = BEGIN + saved(numpy.zeros(100_000)) + END
    head = f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nContent-Type: "
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as sock:
        sock.sendall((head + FORM["content-type"] + "\r\n\r\n").encode() + body[:sent])
        if sent == 300_000:
            wait_until(lambda: gateway.parts() != [], "it is on its way")
    wait_until(lambda: gateway.parts() == [], "it is gone")


def test_who_does_not_read_costs_no_memory(gateway: Arrays) -> None:
    index = gateway.store(numpy.zeros(5_000_000))
    gateway.get(f"/array/{index}?slice=:100000")
    before_kb = peak_kb(gateway.pid)
    deaf = []
    for _ in range(20):
        sock = socket.create_connection(("127.0.0.1", gateway.port), 30)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        sock.sendall(f"GET /array/{index} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert sock.recv(1) == b"H"
        deaf.append(sock)
    assert gateway.get("/health").status_code == 200
    assert gateway.get(f"/array/{index}?slice=:5").json()["data"] == [0.0] * 5
    for sock in deaf:
        sock.close()
    assert peak_kb(gateway.pid) - before_kb < 30_000  # of 20 answers of 20 MB
    gateway.request("DELETE", f"/array/{index}")


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks for the memory of another process")
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_large_array_takes_no_memory(tmp_path: Path, order: str) -> None:
    """Nor its way back, nor a slice of it."""
    megabytes = at_length(500, 40)
    rows = megabytes * 1_000_000 // 8 // 50
    gateway = Arrays(tmp_path, "--limit", "array_mb=1000")
    block = numpy.arange(125_000.0)
    head = saved(numpy.zeros((1, 50)))[:128].replace(b"(1, 50)", f"({rows}, 50)".encode())
    text = head[10:].rstrip()
    text = text.replace(b"False", b"True") if order == "F" else text
    head = head[:10] + text.ljust(117) + b"\n"
    small = gateway.store(numpy.zeros((1_000, 50), order="F" if order == "F" else "C"))
    gateway.loaded(f"/array/{small}"), gateway.rebuilt(f"/array/{small}?slice=::2,3")
    before_kb = peak_kb(gateway.pid)

    def body() -> Iterator[bytes]:
        yield head
        yield from itertools.repeat(block.tobytes(), megabytes)

    headers = {"content-type": "application/x-npy"}
    answer = httpx.post(f"{gateway.url}/upload", content=body(), headers=headers, timeout=300)
    assert answer.json()["shape"] == [rows, 50]
    index = answer.json()["index"]
    with httpx.stream(
        "GET", f"{gateway.url}/array/{index}", headers={"accept": "application/x-npy"}, timeout=300
    ) as got:
        assert sum(map(len, got.iter_raw())) == len(head) + megabytes * 1_000_000
    flat = numpy.arange(rows * 50.0) % 125_000
    array = flat.reshape((50, rows)).T if order == "F" else flat.reshape((rows, 50))
    for part in (":,7", f"{rows // 2}:{rows // 2 + 1000}", "::1000", "-1", "5:5"):
        assert (gateway.loaded(f"/array/{index}?slice={part}") == eval(f"array[{part}]")).all()
    assert (gateway.rebuilt(f"/array/{index}?slice=:20000") == array[:20000]).all()
    limit_kb = 30_000 if order == "F" else 8_000
    assert peak_kb(gateway.pid) - before_kb < limit_kb
    assert gateway.end() == 0


@pytest.mark.skipif(sys.platform != "linux", reason="limits the files of another process")
def test_a_disk_that_takes_no_more(gateway: Arrays) -> None:
    content = saved(numpy.zeros(50_000))
    before = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    answer = gateway.upload(content)
    refused(answer, 507)
    assert answer.headers["retry-after"] == "60"
    resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, before)
    assert gateway.upload(content).status_code == 200


def test_a_disk_that_is_full(small_disk: Path) -> None:
    gateway = Arrays(small_disk, "--limit", "keep_free_mb=0")
    first = gateway.store(numpy.arange(1_000))
    refused(gateway.upload(saved(numpy.zeros(2_000_000))), 507)  # by what its head says
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4_096))
    for size in (10, 100_000):
        answer = gateway.upload(saved(numpy.zeros(size)))
        assert refused(answer, 507)
    assert gateway.get("/health").json()["arrays_stored"] == 1
    assert gateway.rebuilt(f"/array/{first}").tolist() == list(range(1_000))
    filler.unlink()
    assert gateway.store(numpy.zeros(100_000)) > first
    assert [path for path in gateway.folder.glob("*.npy") if path.stat().st_size == 0] == []
    assert gateway.parts() == []
    assert gateway.end() == 0


def test_limits_of_number_and_size(tmp_path: Path) -> None:
    gateway = Arrays(tmp_path, "--limit", "arrays=2", "--limit", "array_mb=1")
    assert "above the limit of 1,000,000" in refused(gateway.upload(saved(numpy.zeros(125_000))), 400)
    gateway.store(numpy.zeros(124_000))
    gateway.store([1])
    assert "there are 2 arrays" in refused(gateway.upload(saved([2])), 507)
    gateway.request("DELETE", "/array/0")
    assert gateway.store([2]) == 2
    assert gateway.end() == 0


def test_a_kill_in_the_middle_of_an_upload(tmp_path: Path) -> None:
    gateway = Arrays(tmp_path)
    kept = gateway.store(numpy.arange(5))
    body = BEGIN + saved(numpy.zeros(1_000_000)) + END
    with socket.create_connection(("127.0.0.1", gateway.port), 30) as sock:
        head = f"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nContent-Type: "
        sock.sendall((head + FORM["content-type"] + "\r\n\r\n").encode() + body[:4_000_000])
        wait_until(lambda: any(part.stat().st_size for part in gateway.parts()), "a part of it is there")
        gateway.process.end(signal.SIGKILL)
    gateway = Arrays(tmp_path)
    assert gateway.parts() == []
    assert gateway.get("/arrays").json() == {
        "count": 1,
        "arrays": [{"index": kept, "shape": [5], "dtype": "int64"}],
    }
    assert gateway.rebuilt(f"/array/{kept}").tolist() == [0, 1, 2, 3, 4]
    assert gateway.end() == 0


def test_files_that_somebody_has_put_there(tmp_path: Path) -> None:
    """Are nobody's arrays, and stay."""
    gateway = Arrays(tmp_path)
    (gateway.folder / "0.npy").write_text("mine")
    assert gateway.store([1]) == 1
    gateway.end()
    gateway = Arrays(tmp_path)
    assert (gateway.folder / "0.npy").read_text() == "mine"
    assert gateway.store([2]) == 2
    gateway.end()
    other = tmp_path / "other"
    (other / "arrays").mkdir(parents=True)
    (other / "arrays" / "7.npy").write_text("mine")
    with pytest.raises(AssertionError, match="has arrays of somebody else"):
        Arrays(other)


def test_a_file_that_somebody_has_removed(gateway: Arrays) -> None:
    index = gateway.store([1])
    (gateway.folder / f"{index}.npy").unlink()
    refused(gateway.get(f"/array/{index}"), 404)
    assert gateway.request("DELETE", f"/array/{index}").status_code == 200


def test_a_file_that_somebody_has_cut(gateway: Arrays) -> None:
    """Is an error from the begin, or an answer that ends too soon; the next array is as it was."""
    small, large = gateway.store(numpy.zeros(100)), gateway.store(numpy.zeros(1_000_000))
    for index in (small, large):
        os.truncate(gateway.folder / f"{index}.npy", 500)
    assert refused(gateway.get(f"/array/{small}"), 500)
    for path in (f"/array/{small}?format=npy", f"/array/{large}?format=npy", f"/array/{large}"):
        with suppress(httpx.RemoteProtocolError):
            assert gateway.get(path).status_code == 500
    assert gateway.rebuilt(f"/array/{gateway.store([1])}").tolist() == [1]
    for index in (small, large):
        assert gateway.request("DELETE", f"/array/{index}").status_code == 200


def test_an_index_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "arrays" / ".arrays").mkdir(parents=True)
    (tmp_path / "arrays" / "arrays.db").write_text("no database " * 1_000)
    with pytest.raises(AssertionError, match="the index of the arrays, cannot be used"):
        Arrays(tmp_path)


@pytest.mark.slow
def test_a_key_is_asked_for(tmp_path: Path) -> None:
    gateway = Arrays(tmp_path, SNYPER_SERVICE_KEY="some-words")
    for method, path in (
        ("GET", "/arrays"),
        ("GET", "/array/0"),
        ("POST", "/upload"),
        ("DELETE", "/array/0"),
    ):
        assert gateway.request(method, path).status_code == 401
    assert gateway.get("/health").status_code == 200
    key = {"authorization": "Bearer some-words"}
    assert gateway.upload(saved([1]), headers=key).status_code == 200
    assert gateway.get("/array/0", headers=key).json()["data"] == [1]
    assert gateway.end() == 0
