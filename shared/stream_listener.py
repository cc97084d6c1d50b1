"""A device that is read directly: it listens itself, and whoever reads takes it for a hub with one source."""

from snyper.shared.address import parse_address
from snyper.shared.clock import now_ms, now_us
from snyper.shared.handshake_server import Registration, challenge
from snyper.shared.link import CHECK_MS, Link
from snyper.shared.link_core import State
from snyper.shared.runtime import close_server, listen, sleep_ms
from snyper.shared.socket_protocol import ErrorCode, MessageType, ProtocolError, SocketMessage
from snyper.shared.stream_spec import LIST_STREAMS, MARK_STREAM, READ_STREAM, brief

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.shared.keys import Key
    from snyper.shared.runtime import Stream
    from snyper.shared.stream_source import Sources

MAX_READERS = 4  # a board has five connections, and one of them may be to a hub
_BACKLOG = 16  # who wait for a place, one after the other
REGISTER_MS = 5_000
_LEAST_MS = 500  # of it that a stranger has though others come
_HELD_MS = 1_000  # that the place of a wrong key stays taken: as many a second are tried as there are places
_LOOPBACK = ("localhost", "::1")


class StreamListener:
    """Readers of `sources`, the streams of the device `name`: each a console that proves `key`, or anybody
    where that is None.
    """

    def __init__(self, sources: "Sources", name: str, boot_id: str, key: "Key | None") -> None:
        self.links: "list[Link]" = []
        self._sources = sources
        self._name = name
        self._boot_id = boot_id
        self._key = key
        self._is_ending = False

    async def run(self, host: str, port: int) -> None:
        """Listen until cancelled; then all connections are gone. Raises OSError."""
        server = await listen(self._serve, host, port, _BACKLOG, self._may_accept)
        try:
            while True:
                await sleep_ms(CHECK_MS)
                overdue_ms = now_ms() - REGISTER_MS
                for link in self.links:
                    if link.state == State.NEW and link.opened_ms <= overdue_ms:
                        _refuse(link, ErrorCode.NOT_REGISTERED, "the first message is `register`")
        finally:
            self._is_ending = True
            await close_server(server)
            for link in self.links:
                link.end()
            while self.links:
                await sleep_ms(CHECK_MS)

    def _may_accept(self) -> bool:
        """Tell whether one more may come. Where there is no place, the oldest who has not registered goes."""
        if len(self.links) < MAX_READERS:
            return True
        for link in self.links:  # in the order in which they came
            if link.state == State.NEW:
                if link.opened_ms <= now_ms() - _LEAST_MS:
                    _refuse(link, ErrorCode.NOT_REGISTERED, "others come, and you do not register")
                break
        return False

    async def _serve(self, stream: "Stream") -> None:
        link = Link(stream, {}, "reader", self._register)
        link.is_quiet = True
        link.health = _health
        self.links.append(link)
        link.start(_ignore)
        try:
            while link.state != State.CLOSED:
                await sleep_ms(CHECK_MS)
            why = link.close_error
            until_ms = now_ms() + (_HELD_MS if why and why.code == ErrorCode.UNAUTHORIZED else 0)
            while now_ms() < until_ms and not self._is_ending:
                await sleep_ms(CHECK_MS)
        finally:
            await link.let_go()
            self.links.remove(link)

    def _register(self, link: Link, message: SocketMessage) -> None:
        """Admit a reader, challenge him to prove the key, or say why not and hang up."""
        if link.sealed is not None:  # what it sealed was sealed as it must be
            link._stream = link.sealed
        try:
            if message.type != MessageType.REGISTER:
                raise ProtocolError(ErrorCode.NOT_REGISTERED, "the first message is `register`")
            registration = Registration(message)
            if registration.wants_challenge and link.sealed is None:
                if self._key is None or registration.key != self._key.name:
                    raise ProtocolError(ErrorCode.UNAUTHORIZED, "this device has not that key")
                challenge(link, message, registration, self._key)
                return
            if self._key is not None:
                claim = None if link.sealed is None else link.sealed.claim[:2]
                if claim != (registration.role, registration.target_id):
                    raise ProtocolError(ErrorCode.UNAUTHORIZED, "this device wants proof of its key")
            self._admit(link, message, registration)
        except ProtocolError as error:
            _refuse(link, error.code, error.message, message)

    def _admit(self, link: Link, message: SocketMessage, registration: Registration) -> None:
        sources = self._sources
        handlers = {READ_STREAM: sources.answer, MARK_STREAM: sources.mark, LIST_STREAMS: self._list}
        link.open(handlers, registration.role)
        link.on_stream = self._sources.on_item
        link.on_close = self._sources.on_close
        link.peer_max_line_bytes = registration.max_line_bytes
        link.peer_max_chunk_bytes = registration.max_chunk_bytes
        is_open = self._key is None
        link.send_nowait(registration.reply(message, self._boot_id, now_us(), link.max_chunk_bytes, is_open))
        link.start_heartbeat(registration.heartbeat_ms, registration.heartbeat_ms)

    async def _list(self, link: Link, message: SocketMessage) -> SocketMessage:
        streams = self._sources.streams
        for name in sorted(streams):
            stream = streams[name]
            data = brief(stream.spec)
            data.update({"stream": name, "epoch": stream.epoch, "seq": stream.seq, "connected": True})
            data["subscribers"] = len(stream.readers)
            await link.send(SocketMessage(MessageType.ITEM, message.id, self._name, None, data))
        return message.reply(MessageType.REPLY, "ok", {"count": len(streams)})


def checked_place(address: str, key: str, is_open: bool) -> "tuple[str, int, Key | None]":
    """Return host and port to listen at, and the key. Raises ValueError: see `Device.listen`."""
    host, port = parse_address(address)
    if key:
        from snyper.shared.keys import Key

        return host, port, Key(key)
    if not is_open and host not in _LOOPBACK and not host.startswith("127."):
        raise ValueError("at %s a key is needed, or `is_open=True`, which lets everybody read" % address)
    return host, port, None


def _refuse(link: Link, code: str, why: str, message: "SocketMessage | None" = None) -> None:
    """Tell who connected why he is not served, and hang up."""
    error = ProtocolError(code, why)
    try:
        link.send_nowait(error.to_message() if message is None else error.to_message(message.id))
    except ProtocolError:
        link.log("refused, and it has gone")
    link.close(error, linger=True)


def _health() -> bytes:
    return b'{"hub_us":%d}' % now_us()


def _ignore(link: Link) -> None:
    """Leave it to the task that looks."""
