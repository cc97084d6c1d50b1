"""The handshake of a client and a server of calls. Pure: lines in, lines out.

Without a secret it is `register` and `registered`, as with a hub. With one both prove it first, under TLS, to
whose certificate the proof is bound. The secret is stretched with scrypt (RFC 7914), with a salt that the
server says: to try one guess costs as much.
"""

import hashlib
import os
from binascii import hexlify, unhexlify
from collections.abc import Generator
from functools import lru_cache

from snyper.services.wire import MAX_BODY_BYTES
from snyper.services.wrong_secrets import WrongSecrets
from snyper.shared.handshake_server import Role
from snyper.shared.keys import KEY_BYTES, NONCE_BYTES, Key, nonce_field, seals
from snyper.shared.link_core import error_of
from snyper.shared.seal import SEAL_BYTES, Seal
from snyper.shared.socket_protocol import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    integer_field,
    text_field,
)
from snyper.system.text import one_line

_KEY_NAME = "secret"
_SCRYPT_N, _SCRYPT_R = 1 << 14, 8  # 16 MiB and some 50 ms of a computer
SHORT_SECRET_CHARS = 12  # below which whoever plays the server once can find it


def new_salt() -> str:
    """Return the salt of a server, in hexadecimal digits."""
    return hexlify(os.urandom(NONCE_BYTES)).decode()


@lru_cache(maxsize=8)
def stretch(secret: str, salt: str) -> Key:
    """Return the key that a secret makes. Takes some 50 ms."""
    derived = hashlib.scrypt(
        secret.encode(), salt=unhexlify(salt), n=_SCRYPT_N, r=_SCRYPT_R, p=1, dklen=KEY_BYTES
    )
    return Key(f"{_KEY_NAME}:{hexlify(derived).decode()}")


def _unauthorized(why: str) -> ProtocolError:
    return ProtocolError(ErrorCode.UNAUTHORIZED, why)


class Introduction:
    """The words in which a client says its session, and who it is for people."""

    def __init__(self, message: SocketMessage) -> None:
        """Raises ProtocolError: `not_registered`, `bad_message`, `unsupported` for another protocol."""
        if message.type != MessageType.REGISTER:
            raise ProtocolError(ErrorCode.NOT_REGISTERED, "the first message is `register`")
        data = message.data or {}
        protocol = integer_field(data, "protocol", PROTOCOL_VERSION, 1, 1 << 30)
        if protocol != PROTOCOL_VERSION:
            raise ProtocolError(
                ErrorCode.UNSUPPORTED,
                f"this server speaks protocol {PROTOCOL_VERSION}, this client {protocol}: update the older",
            )
        if text_field(data, "role", Role.CONSOLE) != Role.CONSOLE:
            raise ProtocolError(ErrorCode.UNSUPPORTED, "a server of calls takes consoles alone")
        self.session = text_field(data, "session", "") or hexlify(os.urandom(NONCE_BYTES)).decode()
        self.who = one_line(text_field(data, "who", "")) or "somebody"  # whom other clients read of


class ServerHandshake:
    """A server's end. `key` is what its secret makes, with that `salt`; None without one. `binding` is the
    hash of its certificate, `wrong` counts the wrong secrets of the client's `address`.
    """

    def __init__(self, key: Key | None, salt: str, binding: bytes, wrong: WrongSecrets, address: str) -> None:
        self._wrong = wrong
        self._address = address
        self._key = key
        self._salt = salt
        self._binding = binding
        self._receiving: Seal | None = None
        self._sending: Seal | None = None

    def receive_line(self, line: bytes, now_s: float) -> bytes | tuple[SocketMessage, Introduction]:
        """Take a line; return the answer to it, or the `register` of a client that may be let in.

        Raises ProtocolError for one that may not.
        """
        if self._receiving is not None:
            late_s = self._wrong.late_s(self._address, now_s)
            if late_s:
                why = f"too many wrong secrets from your address: try again in {late_s:.0f} s"
                raise ProtocolError(ErrorCode.BUSY, why)
            opened = self._receiving.open(line)
            if opened is None:
                self._wrong.count(self._address, now_s)
                raise _unauthorized("wrong secret")
            message = SocketMessage.from_line(opened)
            return message, Introduction(message)
        message = SocketMessage.from_line(line)
        introduction = Introduction(message)
        if self._key is None:
            if "nonce" in (message.data or {}):
                raise _unauthorized("this server has no secret, and this client wants one of it")
            return message, introduction
        if "nonce" not in (message.data or {}):
            raise _unauthorized("this server wants proof of its secret: Client(..., secret=...)")
        own = os.urandom(NONCE_BYTES)
        self._receiving, self._sending = seals(
            self._key, Role.CONSOLE, "", nonce_field(message.data or {}), own, self._binding
        )
        data: dict[str, object] = {"nonce": hexlify(own).decode(), "salt": self._salt}
        return message.reply(MessageType.CHALLENGE, "challenged", data).to_line()

    def admit(self, message: SocketMessage, instance: str, is_known: bool) -> bytes:
        """Return the line that lets a client in. `instance` names this run of the server; `is_known` tells
        whether it remembers the client's session.
        """
        data: dict[str, object] = {
            "protocol": PROTOCOL_VERSION,
            "boot_id": instance,
            "max_chunk_bytes": MAX_BODY_BYTES,
            "known": is_known,
        }
        line = message.reply(MessageType.REGISTERED, "registered", data).to_line()
        return line if self._sending is None else self._sending.seal(line)


class ClientHandshake:
    """A client's end. `binding` is the hash of the certificate that the server shows."""

    instance = ""  # of the server, once it is done
    is_known = False

    def __init__(self, session: str, who: str, secret: str | None, binding: bytes) -> None:
        self._data: dict[str, object] = {
            "role": Role.CONSOLE,
            "protocol": PROTOCOL_VERSION,
            "session": session,
            "who": who,
            "max_chunk_bytes": MAX_BODY_BYTES,
        }
        self._secret = secret
        self._binding = binding
        self._nonce = os.urandom(NONCE_BYTES)
        self._receiving: Seal | None = None

    def begin(self) -> bytes:
        """Return the first line."""
        data = dict(self._data)
        if self._secret is not None:
            data = {"role": Role.CONSOLE, "key": _KEY_NAME, "nonce": hexlify(self._nonce).decode()}
        return SocketMessage(MessageType.REGISTER, 0, data=data).to_line()

    def steps(self) -> Generator[bytes, bytes, bytes]:
        """Yield what is to be sent, perhaps nothing, and take what comes, nothing where the server hangs up.
        Return what has come behind the handshake.

        Raises ProtocolError for a server that refuses, that does not prove the secret, or that hangs up.
        """
        received, unsent = b"", self.begin()
        while True:
            line, end, rest = received.partition(b"\n")
            if end:
                received = rest
                answer = self.receive_line(line + end)
                if answer is None:
                    return rest
                unsent += answer
                continue
            if len(line) > MAX_LINE_BYTES + SEAL_BYTES:
                raise ProtocolError(ErrorCode.LINE_TOO_LONG, "it answers with a line that never ends")
            data = yield unsent
            unsent = b""
            if not data:
                raise ProtocolError(ErrorCode.DISCONNECTED, "it hung up")
            received += data

    def receive_line(self, line: bytes) -> bytes | None:
        """Take a line of the server; return the next one for it, None when the handshake is done.

        Raises ProtocolError for a server that refuses, or that does not prove the secret.
        """
        if self._receiving is not None:
            opened = self._receiving.open(line)
            if opened is None:
                _raise_refusal(line)
                raise _unauthorized("the server does not prove the secret: another one, or not ours")
            line = opened
        message = SocketMessage.from_line(line)
        data = message.data or {}
        if message.type == MessageType.ERROR:
            raise error_of(message)
        if message.type == MessageType.CHALLENGE and self._secret is not None and self._receiving is None:
            sending, self._receiving = self._seals(data)
            return sending.seal(SocketMessage(MessageType.REGISTER, 0, data=self._data).to_line())
        if message.type != MessageType.REGISTERED:
            raise ProtocolError(ErrorCode.UNKNOWN_TYPE, f"`registered` was due, not `{message.type}`")
        if self._secret is not None and self._receiving is None:
            raise _unauthorized("the server lets everybody in, and this client has a secret for it")
        self.instance = text_field(data, "boot_id", "")
        if "known" not in data:
            why = 'a hub is there, no server of calls: hub="HOST:PORT" and name="lab1" reach one through it'
            raise ProtocolError(ErrorCode.UNSUPPORTED, why)
        self.is_known = data["known"] is True
        return None

    def _seals(self, data: dict[str, object]) -> tuple[Seal, Seal]:
        salt = hexlify(nonce_field({"nonce": data.get("salt", "")})).decode()
        assert self._secret is not None
        key = stretch(self._secret, salt)
        return seals(key, Role.CONSOLE, "", self._nonce, nonce_field(data), self._binding)


def _raise_refusal(line: bytes) -> None:
    try:
        message = SocketMessage.from_line(line)
    except ProtocolError:
        return
    if message.type == MessageType.ERROR:
        raise error_of(message)
