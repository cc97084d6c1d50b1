"""Targets of fuzzing, for both runtimes: each takes any bytes, and tells in a few words what becomes of them.

What is raised here is a fault of what is fuzzed; so is an assertion that does not hold.
"""

import asyncio
import hashlib
import os

from snyper.firmware.master import config as master_config
from snyper.firmware.master.events import EventLog
from snyper.firmware.master.registry import Registry
from snyper.firmware.master.roles.target import Target
from snyper.firmware.master.router import Router
from snyper.firmware.target import config as target_config
from snyper.shared.attachment_receiver import Receiver
from snyper.shared.config import ConfigError, parse
from snyper.shared.handshake_client import Registered
from snyper.shared.handshake_server import Registration
from snyper.shared.keys import Key, nonce_field, seals
from snyper.shared.runtime import MICROPYTHON
from snyper.shared.sealed_stream import SealedStream
from snyper.shared.socket_protocol import MessageLineParser, ProtocolError, SocketMessage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

KEY = "fleet:" + "5a" * 32
NONCE = bytes(16)
SEALED = (b'{"type":"ping","id":1}', b'{"type":"stand_up","id":2}', b'{"type":"chunk","id":3,"bytes":4}')
CHUNK_BYTES = 64
MAX_FILE_BYTES = 256
MAX_VERDICT_CHARS = 1_000

_loop: "Any" = None


def parser(data: bytes) -> str:
    """Parse a stream, whole and in pieces as long as its first byte says: both must give the same."""
    size = data[0] % 61 + 1 if data else 1
    stream = data[1:]
    whole = MessageLineParser(max_chunk_bytes=CHUNK_BYTES)
    found = whole.feed(stream) + whole.feed(b"\n")
    pieces = MessageLineParser(max_chunk_bytes=CHUNK_BYTES)
    again: "list[Any]" = []
    for at in range(0, len(stream), size):
        again += pieces.feed(stream[at : at + size])
    again += pieces.feed(b"\n")
    assert [_word(item) for item in found] == [_word(item) for item in again]
    for item in found:
        message = item.to_message() if isinstance(item, ProtocolError) else item
        line = message.to_line()
        assert _word(SocketMessage.from_line(line[: line.find(b"\n") + 1])) == _word(message)
    return " ".join([_word(item) for item in found])


def _word(item: "SocketMessage | ProtocolError") -> str:
    if isinstance(item, ProtocolError):
        return item.code
    return "%s:%r" % (item.type, item.id)


def handshake(data: bytes) -> str:
    """Take a line as a peer's `register`, and as the hub's answer."""
    try:
        message = SocketMessage.from_line(data)
    except ProtocolError as error:
        return error.code
    said = [_outcome(lambda: _registered(Registration(message), message))]
    said.append(_outcome(lambda: "%d" % Registered(message).heartbeat_ms))
    said.append(_outcome(lambda: "%d" % len(nonce_field(message.data or {}))))
    return " ".join(said)


def _registered(registration: Registration, message: SocketMessage) -> str:
    registration.reply(message, "boot", 1).to_line()
    return "%s:%d" % (registration.role, registration.heartbeat_ms)


def _outcome(call: "Callable[[], str]") -> str:
    try:
        return call()
    except ProtocolError as error:
        error.to_message().to_line()
        return error.code


def keys(data: bytes) -> str:
    """Take a text as a key, and a stream as what comes over a sealed connection: what is opened is what a
    second implementation opens, on a computer.
    """
    try:
        text = "key:" + Key(data.decode()).name
    except ValueError:
        text = "no key"
    link = _Link()
    _, receiving = seals(Key(KEY), "console", "", NONCE, NONCE)
    sending, _ = seals(Key(KEY), "console", "", NONCE, NONCE)
    stream: "Any" = SealedStream(link, link, sending, receiving, ("console", None))  # type: ignore[arg-type]
    size = data[0] % 61 + 1 if data else 1
    for at in range(1, len(data), size):
        stream.data_received(data[at : at + size])
    if not MICROPYTHON:
        assert link.opened == _opened_by_another(data[1:]), link.opened
    return "%s %d %s" % (text, len(link.opened), link.code)


def _opened_by_another(stream: bytes) -> bytes:
    """Open a sealed stream by the text of docs/protocol.md, with CPython's own HMAC. The fuzzer sees what is
    compared, and makes right seals of it.
    """
    import hmac
    from hashlib import sha256

    fields = (b"snyper 1", b"fleet", b"console", b"", NONCE, NONCE, b"")
    text = b"".join([b"%d:%s" % (len(field), field) for field in fields])
    session = hmac.digest(bytes.fromhex(KEY[6:]), text, "sha256")
    secret = hmac.digest(session, b"from the hub", "sha256")
    opened = b""
    number = following = 0
    while True:
        size = following + 24 if following else stream.find(b"\n") + 1
        if not size or len(stream) < size:
            return opened
        mac = sha256(secret + number.to_bytes(8, "big") + stream[16:size]).hexdigest()[:16].encode()
        said = stream[16:24]
        if size < 24 or stream[:16] != mac or said.strip(b"0123456789abcdef"):
            return opened
        opened += stream[24:size]
        stream = stream[size:]
        following = int(said, 16)
        number += 1
        if following > CHUNK_BYTES:
            return opened


def sealed_stream() -> bytes:
    """Return the bytes that a peer with the key sends: what `keys` opens all of."""
    _, sending = seals(Key(KEY), "console", "", NONCE, NONCE)
    stream = b""
    for line in SEALED:
        stream += sending.seal(line + b"\n", 4 if b"bytes" in line else 0)
    return stream + sending.seal(b"abcd")


class _Link:
    """The end of a sealed stream that remembers what it is given."""

    max_chunk_bytes = CHUNK_BYTES
    received_us = 0
    address = ""
    owner: "Any" = None

    def __init__(self) -> None:
        self.opened = b""
        self.code = ""

    def data_received(self, data: bytes) -> None:
        assert not self.code, "after an error nothing is opened"
        self.opened += data

    def send_nowait(self, message: SocketMessage) -> None:
        message.to_line()

    def close(self, error: ProtocolError, linger: bool = False) -> None:
        self.code = error.code

    def pause_reading(self) -> None:
        assert self.code


def chunks(data: bytes) -> str:
    """Take a stream as offers and chunks of files: what is there afterwards is what was offered."""
    directory = "%s/snyper-fuzz-%s" % (temporary(), "board" if MICROPYTHON else os.getpid())
    receiver = Receiver(directory, MAX_FILE_BYTES)
    said: "list[str]" = []
    offered: "dict[str, list[str]]" = {}
    try:
        for item in MessageLineParser(max_chunk_bytes=CHUNK_BYTES).feed(data):
            if isinstance(item, ProtocolError):
                said.append(item.code)
            elif item.type in ("offer", "chunk"):
                about = item.data or {}
                if item.type == "offer":
                    offered.setdefault(str(about.get("name")), []).append(str(about.get("sha256")))
                said.append(_served(receiver, item))
            else:
                said.append(item.type)
        receiver.close()
        for name in _names(directory):
            if not name.endswith(".part"):
                with open(directory + "/" + name, "rb") as file:
                    digest = hashlib.sha256(file.read()).digest().hex()
                assert digest in offered[name], name
    finally:
        receiver.close()
        for name in _names(directory):
            os.remove(directory + "/" + name)
    return " ".join(said)


def temporary() -> str:
    """Return a directory whose files take no disk, where there is one."""
    try:
        os.stat("/dev/shm")
        return "/dev/shm"
    except OSError:
        return "/tmp"


def _served(receiver: Receiver, message: SocketMessage) -> str:
    try:
        reply = _run(receiver.serve(None, message))
        reply.to_line()
        return str(reply.status)
    except ProtocolError as error:
        return error.code


def _names(directory: str) -> "list[str]":
    try:
        return os.listdir(directory)
    except OSError:
        return []


def settings(data: bytes) -> str:
    """Take a file as the settings of each role: refused with a reason on one line, or complete."""
    said = []
    for config in (target_config, master_config):
        try:
            complete = config.read(parse(data), "rp2")
            assert sorted(complete) == sorted(config.SCHEMA)
        except ConfigError as error:
            why = str(error)
        else:
            why = ""
        assert "\n" not in why
        said.append("refused" if why else "taken")
    return " ".join(said)


def reports(data: bytes) -> str:
    """Take a line as what a target says: reports become events, which a console shows."""
    try:
        message = SocketMessage.from_line(data)
    except ProtocolError as error:
        return error.code
    if message.id is None:
        return "no id"
    events = EventLog(4, "log")
    router = Router(Registry(4, 1), events, "boot")
    target: "Any" = Target("target_1")
    target.hub = _Hub(router)
    said: "list[str]" = []
    events.listen(lambda seq, event, target_id, data: said.append(_shown(seq, event, target_id, data)))
    if message.type in target.reports:
        try:
            _run(target.on_report(None, message)).to_line()
            _run(target.on_report(None, message))
            assert len(said) <= 1, "counted twice"
        except ProtocolError as error:
            said.append(error.code)
    else:
        target.on_health(message)
        target.on_answer(message)
    for seq, event, target_id, told in events.after(0):
        _shown(seq, event, target_id, told)
    return " ".join(said) or "nothing"


class _Hub:
    """The hub of a target, with its router and no more."""

    def __init__(self, router: Router) -> None:
        self.router = router


def _shown(seq: int, event: str, target_id: str, data: "dict[str, Any]") -> str:
    """Send an event, and show it as a console does, on a computer; return its kind."""
    told = {"event": event, "seq": seq}
    told.update(data)
    line = SocketMessage("event", seq, target_id, data=told).to_line()
    if not MICROPYTHON:
        _show(SocketMessage.from_line(line))
    return event


def _show(message: SocketMessage) -> None:
    from snyper.client.events import event_of, fold, line_of, sound_of
    from snyper.client.range_model import RangeModel

    event = event_of(message)
    assert type(line_of(event)) is str
    assert type(sound_of(event)) is str
    fold(RangeModel(), event)


def _run(coroutine: "Coroutine[Any, Any, Any]") -> "Any":
    global _loop
    if _loop is None:
        _loop = asyncio.new_event_loop()
    return _loop.run_until_complete(coroutine)


TARGETS: "dict[str, Callable[[bytes], str]]" = {
    "parser": parser,
    "handshake": handshake,
    "keys": keys,
    "chunks": chunks,
    "settings": settings,
    "reports": reports,
}


def verdict(name: str, data: bytes) -> str:
    """Return what a target tells of these bytes, cut to MAX_VERDICT_CHARS of ASCII."""
    text = TARGETS[name](data)[:MAX_VERDICT_CHARS]
    return "".join([char if " " <= char < "\x7f" else "_" for char in text]).strip() or "-"
