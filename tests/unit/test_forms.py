"""Forms and packed bodies, however they are cut; and what the heads of a form's parts say."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings, strategies as st

from snyper.device.serving.exchange import Exchange, Message, Refusal
from snyper.device.serving.forms import FileWriter, Form, parameters, read_form
from snyper.gateway.results import attachment

# Content that looks like the ends of parts, beside any other.
CONTENT = st.lists(
    st.sampled_from([b"\r\n", b"--", b"b", b"\r", b"-", b"--b\r\n", b"x" * 40]) | st.binary()
).map(b"".join)


async def pieces(body: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    at = 0
    for cut in [*sorted(cut % (len(body) + 1) for cut in cuts), len(body)]:
        yield body[at:cut]
        at = cut


def read(path: Path, body: bytes, cuts: list[int], most_bytes: int) -> tuple[Form, bytes]:
    path.unlink(missing_ok=True)
    content_type = "multipart/form-data; boundary=boundary"
    reading = read_form(pieces(body, cuts), content_type, "file", FileWriter(path), most_bytes)
    form = asyncio.run(reading)
    return form, path.read_bytes()


def test_a_form_is_what_was_sent_wherever_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "file"

    @settings(max_examples=60, deadline=None)
    @given(CONTENT, st.text(max_size=20), st.lists(st.integers(0, 10_000), max_size=8))
    def check(content: bytes, options: str, cuts: list[int]) -> None:
        request = httpx.Request(
            "POST",
            "http://x/",
            files={"file": ("a.csv", content)},
            data={"options": options},
            headers={"content-type": "multipart/form-data; boundary=boundary"},
        )
        form, found = read(path, request.read(), cuts, len(content))
        assert found == content
        assert form.filename == "a.csv"
        assert form.texts["options"].encode() == options.encode("utf-8", "replace")
        if content:
            with pytest.raises(Refusal, match="above the limit"):
                read(path, request.read(), cuts, len(content) - 1)

    check()


HEAD = b'Content-Disposition: form-data; name="file"; filename="a"'


@pytest.mark.parametrize(
    ("body", "content"),
    [
        (b"--boundary\r\n" + HEAD + b"\r\n\r\nx\r\n--boundary--", b"x"),
        (b"before\r\n--boundary \t\r\n" + HEAD + b"\r\n\r\nx\r\n--boundary--\r\nbehind\r\n--boundary", b"x"),
        (b"--boundary\r\n" + HEAD.replace(b" name", b"\r\n\t name") + b"\r\n\r\n\r\n--boundary--", b""),
        (b"--boundary\r\n\r\nof no field\r\n--boundary\r\n" + HEAD + b"\r\n\r\nx\r\n--boundary--", b"x"),
        (b"--boundary\r\n" + HEAD + b"\r\n\r\n\r\n--boundar\r\r\n--boundary--", b"\r\n--boundar\r"),
    ],
)
def test_forms_that_few_send(tmp_path: Path, body: bytes, content: bytes) -> None:
    for cuts in ([], list(range(len(body)))):
        form, found = read(tmp_path / "file", body, cuts, 100)
        assert (form.filename, found) == ("a", content)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"--boundary\r\n" + HEAD + b"\r\n\r\nx\r\n--boundaryx\r\n"),
        (400, b"--boundary\r\nno field\r\n\r\nx\r\n--boundary--"),
        (400, b"--boundary\r\n" + HEAD + b"\r\n\r\nx\n--boundary--\n"),
        (400, b"--boundary\r\n\r\n\r\n" * 101),
        (400, b"x" * 200_000),
        (413, b"x" * 300_000),
        (413, b"--boundary" + b" " * 300_000),
        (413, b"--boundary\r\n" + b"x" * 300_000),
        (413, b"--boundary\r\n\r\n" + b"x" * 300_000),
        (422, b"--boundary\r\n" + HEAD + b"\r\n\r\nx\r\n--boundary\r\n" + HEAD + b"\r\n\r\n"),
    ],
)
def test_forms_that_are_none(tmp_path: Path, status: int, body: bytes) -> None:
    for cuts in ([], [1, 7, 11, 13, 50, 90]):
        with pytest.raises(Refusal) as raised:
            read(tmp_path / "file", body, cuts, 100)
        assert raised.value.status == status


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(), min_size=1, max_size=3), st.lists(st.integers(0, 10_000), max_size=8))
def test_a_packed_body_is_what_was_packed(members: list[bytes], cuts: list[int]) -> None:
    packed = b"".join(map(gzip.compress, members))
    parts: list[bytes] = []

    async def take() -> None:
        sent = [piece async for piece in pieces(packed, cuts)]

        async def receive() -> Message:
            return {"type": "http.request", "body": sent.pop(0), "more_body": bool(sent)}

        async def send(_: Message) -> None: ...

        scope = {"headers": [(b"content-encoding", b"gzip")]}
        parts.extend([part async for part in Exchange(scope, receive, send, 1.0).body(10**6)])

    asyncio.run(take())
    assert b"".join(parts) == b"".join(members)


@pytest.mark.parametrize(
    ("disposition", "expected"),
    [
        (b'form-data; name="file"; filename="a.csv"', {"name": "file", "filename": "a.csv"}),
        (b"form-data; name=file; filename=a.csv", {"name": "file", "filename": "a.csv"}),
        (b'form-data; name="a;b"; filename="c; d"', {"name": "a;b", "filename": "c; d"}),
        (b'form-data; name="a\\"b"', {"name": 'a"b'}),
        (b'form-data; name="a%22b"', {"name": 'a"b'}),
        (b'form-data; NAME="x"; name="y"', {"name": "x"}),
        (b"form-data; name=x; filename*=UTF-8'en'%e2%82%ac", {"name": "x", "filename": "€"}),
        (b"form-data; filename*=utf-8''a; filename=\"b\"", {"filename": "b"}),
        (b"form-data", {}),
        (b"", {}),
    ],
)
def test_heads_of_parts(disposition: bytes, expected: dict[str, str]) -> None:
    assert parameters(disposition) == expected


@given(st.text())
def test_a_name_breaks_no_head(name: str) -> None:
    head = attachment("processed_" + name.encode("utf-8", "ignore").decode())
    assert head.isascii()
    assert head.isprintable()
    assert head.startswith('attachment; filename="processed_')


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ('Multipart/Form-Data ; charset=utf-8; Boundary="boundary"', 200),
        ("multipart/form-data", 415),
        ("multipart/form-data; boundary=", 415),
        ("text/plain; boundary=boundary", 415),
        ("", 415),
        ("multipart/form-data; boundary=" + "b" * 201, 400),
        ("multipart/form-data; boundary=\xff", 400),
        ("multipart/form-data; boundary*0*=b; boundary*" + "9" * 5_000 + "*=b", 415),
        ("multipart/form-data; boundary*=bogus-9''b%ff", 400),
        ('\xff;;;="\\', 415),
    ],
)
def test_types_of_what_is_a_form_and_what_is_none(tmp_path: Path, content_type: str, status: int) -> None:
    body = pieces(b"--boundary\r\n" + HEAD + b"\r\n\r\nx\r\n--boundary--", [])
    reading = read_form(body, content_type, "file", FileWriter(tmp_path / "file"), 100)
    if status == 200:
        assert asyncio.run(reading).filename == "a"
    else:
        with pytest.raises(Refusal) as refused:
            asyncio.run(reading)
        assert refused.value.status == status
