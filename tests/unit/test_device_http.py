"""HTTP of strangers, as a device takes it: any head is parsed or refused, any chunks come out."""

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings, strategies as st

from snyper.device.serving.bodies import Body, Hang
from snyper.device.serving.exchange import Refusal
from snyper.device.serving.heads import parse_head

WORDS = (
    *(
        b"GET ",
        b"POST ",
        b"/",
        b"*",
        b"http://",
        b"[",
        b" HTTP/1.1",
        b" HTTP/1.0",
        b"\r\n",
        b"\n",
        b":",
        b" ",
    ),
    *(b"Content-Length: ", b"Transfer-Encoding: ", b"chunked", b"Connection: ", b"close", b",", b"5", b"%e2"),
    *(b"\x00", b"\xff", b"-1", b"\xb2"),
)


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=5)).map(b"".join))
def test_any_head(content: bytes) -> None:
    for head in (content, b"GET / HTTP/1.1\r\n" + content):
        with suppress(Refusal):
            found = parse_head(head)
            assert found.length is None or found.length >= 0
            assert all(b"\r" not in value and b"\n" not in value for _, value in found.fields)


def test_a_head() -> None:
    lines = (
        b"POST /a%20b/%C3%A4?q=%20 HTTP/1.1",
        b"Host: x",
        b"Content-Length:  12 ",
        b"Expect: 100-Continue",
    )
    head = parse_head(b"\r\n".join(lines))
    assert (head.method, head.path, head.query) == ("POST", "/a b/ä", b"q=%20")
    assert (head.length, head.lasts, head.waits) == (12, True, True)
    assert (b"host", b"x") in head.fields


async def read(content: bytes, length: int | None, is_chunked: bool) -> tuple[bytes, bytes]:
    """Return a body, and what follows it on the connection. Raises Hang, Refusal."""
    reader = asyncio.StreamReader(limit=65_536)
    reader.feed_data(content)
    reader.feed_eof()
    body, found = Body(reader, length, is_chunked), b""
    while not body.is_read:
        found += await body.read()
    return found, await reader.read()


@settings(max_examples=100)
@given(st.lists(st.binary(min_size=1, max_size=300)), st.binary(max_size=20))
def test_any_chunks(chunks: list[bytes], following: bytes) -> None:
    content = b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks) + b"0\r\nA: b\r\n\r\n"
    joined = b"".join(chunks)
    assert asyncio.run(read(content + following, None, is_chunked=True)) == (joined, following)
    assert asyncio.run(read(joined + following, len(joined), is_chunked=False)) == (joined, following)
    for cut in {len(content) // 2, len(content) - 1}:
        with pytest.raises(Hang):
            asyncio.run(read(content[:cut], None, is_chunked=True))


@given(st.binary(max_size=200))
def test_any_bytes_as_chunks(content: bytes) -> None:
    with suppress(Hang, Refusal):
        asyncio.run(read(content, None, is_chunked=True))


async def test_a_read_that_is_cancelled_loses_nothing() -> None:
    reader = asyncio.StreamReader()
    body, found = Body(reader, None, is_chunked=True), b""
    sent = b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    while not body.is_read:
        reading = asyncio.ensure_future(body.read())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if reading.done():
            found += reading.result()
        else:
            reading.cancel()
            await asyncio.wait([reading])
            reader.feed_data(sent[:1])
            sent = sent[1:]
    assert found == b"abcd"
