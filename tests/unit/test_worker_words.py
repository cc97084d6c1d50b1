"""What a worker says arrives as it was said, however the pipe cuts it."""

import json
from typing import Any

import pytest

from snyper.offload.worker_process import Words

SAID = [("started", None, b""), ("progress", 0.5, b""), ("json", None, b'{"a":\n1}\n'), ("file", "ü", b"")]
PIPED = b"".join(
    json.dumps({"is": word, "value": value, "bytes": len(body)}).encode() + b"\n" + body
    for word, value, body in SAID
)


@pytest.mark.parametrize("size", range(1, len(PIPED) + 1))
def test_words_arrive_whole_in_pieces_of_any_size(size: int) -> None:
    heard: list[tuple[str, Any, bytes]] = []
    words = Words(lambda *said: heard.append(said))
    for start in range(0, len(PIPED), size):
        words.feed(PIPED[start : start + size])
    assert heard == SAID


@pytest.mark.parametrize("line", [b"printed\n", b"[]\n", b"{}\n", b'{"bytes":"many"}\n', b"\xff\n"])
def test_what_is_no_word_raises_what_ends_the_worker(line: bytes) -> None:
    with pytest.raises((ValueError, LookupError, TypeError)):
        Words(lambda *_: None).feed(line)
