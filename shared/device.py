"""A device with a name at a hub, which has services work for it. The same on both runtimes.

hub = Device("192.168.4.1:8081", "thermometer")
asyncio.create_task(hub.run())
anomalies = await hub.call("laptop", "analyze", readings=readings)
"""

import os
from binascii import hexlify

from snyper.shared.address import parse_hub
from snyper.shared.clock import now_ms
from snyper.shared.handshake_server import Role
from snyper.shared.runtime import sleep_ms
from snyper.shared.service_call import ServiceCall
from snyper.shared.session import Session
from snyper.shared.socket_protocol import MAX_LINE_BYTES, ErrorCode, ProtocolError
from snyper.shared.stream_spec import MARK_STREAM, READ_STREAM

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from snyper.shared.handshake_client import Registered
    from snyper.shared.link import Handler, Link
    from snyper.shared.stream_source import Sources, SourceStream

FIRST_PAUSE_MS = 100
MAX_PAUSE_MS = 2_000
# What passes: the hub or the service is away, or has other work.
_PASSING = (ErrorCode.BUSY, ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED, ErrorCode.UNKNOWN_TARGET)


class Device(Session):
    """A device that stays registered with the hub at `hubs`, an address or several, as `name`. `run` does it,
    for ever. Without a hub, `[]`, it may `listen`.

    `key` is the text of a key of that hub, empty where it has none. `handlers` serve what others ask the
    device by its name. `about` says for people what it is, in at most 64 characters. On a board the network
    has to be joined before, or in a `join` of a subclass.

    Raises ValueError for an address that is none.
    """

    # How long a call waits for a hub or a service that is away.
    patience_ms = 60_000
    # Called with the share of a call that is done where its function says it; what it raises ends that call.
    on_progress: "Callable[[float], object] | None" = None
    _sources: "Sources | None" = None  # of its streams, once there are any

    def __init__(
        self,
        hubs: "str | Sequence[str]",
        name: str,
        key: str = "",
        handlers: "dict[str, Handler] | None" = None,
        about: str = "a device",
    ) -> None:
        hubs = [hubs] if isinstance(hubs, str) else list(hubs)
        for hub in hubs:
            parse_hub(hub)
        super().__init__(hubs, handlers or {}, name, key)
        self._about = about
        self._boot_id = hexlify(os.urandom(8)).decode()

    async def call(self, *args: "Any", **kwargs: object) -> "Any":
        """Have a service, the first argument, call what it serves by the name that is the second, with the
        rest of them; return what that returns.

        Arguments are JSON: None, bool, int, float, str, lists and dicts of them; and `bytes`, `bytearray`,
        `array` or a file that is open for reading in binary, which arrive as bytes, an `array` as a numpy
        array. A function that takes nothing is a list of what it gives to iterate over: always the same,
        since that is counted before it is sent, and sent again where the way is cut. So a long one takes no
        memory. None of it is to change meanwhile.

        The call is carried out at most once. It waits for a hub or a service that is away for `patience_ms`,
        and for the answer for ever: `asyncio.wait_for` ends it, and what has not begun then never does.

        Raises TypeError, ValueError for an argument that does not travel; RemoteError for what the function
        raised, or the service refused; ProtocolError, with `unknown_fate` where nobody can say whether it was
        carried out.
        """
        service, name = args[:2]
        call = ServiceCall(service, name, args[2:], kwargs)
        call.on_progress = self.on_progress
        await call.measure()
        since_ms = now_ms()
        pause_ms = FIRST_PAUSE_MS
        while True:
            try:
                link = self.link
                if link is None:
                    raise ProtocolError(ErrorCode.DISCONNECTED, "no hub: %s" % (self.last_error or "not yet"))
                return await call.carry_out(link)
            except ProtocolError as error:
                if call.has_moved:
                    since_ms, pause_ms = now_ms(), FIRST_PAUSE_MS
                if error.code not in _PASSING or call.is_lost or now_ms() - since_ms > self.patience_ms:
                    error.unknown_fate = call.was_sent
                    raise
            await sleep_ms(pause_ms)
            pause_ms = min(2 * pause_ms, MAX_PAUSE_MS)

    def stream(
        self,
        name: str,
        dtype: "Any",
        shape: "int | Sequence[int]" = (),
        rate_hz: float = 0,
        names: "Sequence[str]" = (),
        units: "Sequence[str]" = (),
        max_queued_bytes: "int | None" = None,
    ) -> "SourceStream":
        """Begin a stream of numbers, which others read by the device's name and this one; it ends with its
        `async with` block:

            async with hub.stream("accelerometer", dtype="<f4", shape=(3,), rate_hz=400) as stream:
                await stream.send(samples)

        `dtype` is a byte order and a kind as numpy writes them, or a type of numpy's; `shape` that of one
        sample, of at most 512 KiB; `rate_hz` 0 where they come at any time; `names` and `units` of the values
        of a sample. For a reader that the network does not let through up to `max_queued_bytes` are kept.
        Without readers nothing is sent.

        Raises ValueError for what is no name or spec, and while there is a stream of that name.
        """
        from snyper.shared.stream_source import MAX_QUEUED_BYTES

        spec = {"dtype": dtype, "shape": shape, "rate_hz": rate_hz, "names": names, "units": units}
        return self._own_sources().open(name, spec, max_queued_bytes or MAX_QUEUED_BYTES)

    async def listen(self, address: str, key: "str | None" = None, is_open: bool = False) -> None:
        """Let others read the streams without a hub, four at a time, at `address`, `HOST:PORT`; until
        cancelled. They connect to it as to a hub: `snyper.connect(address, key)`.

        `key` is the text of the key that they prove, by default that of the device. Without one it listens on
        loopback alone, or `is_open` lets everybody read. Instants of blocks are the device's own.

        Raises ValueError for an address or a key that is none, and without a key elsewhere; OSError.
        """
        from snyper.shared.stream_listener import StreamListener, checked_place

        host, port, own_key = checked_place(address, self._key if key is None else key, is_open)
        await StreamListener(self._own_sources(), self.target_id or "", self._boot_id, own_key).run(
            host, port
        )

    def _own_sources(self) -> "Sources":
        from snyper.shared.stream_source import Sources

        if self._sources is None:
            self._sources = Sources()
            self._handlers[READ_STREAM] = self._sources.answer
            self._handlers[MARK_STREAM] = self._sources.mark
            if self.link is not None:
                self._sources.begin(self.link)
        return self._sources

    # --- what a session has of its own

    async def join(self) -> None:
        """Have the network: for a subclass. Raises OSError with the reason as its last argument."""

    async def find(self, host: str) -> str:
        """Return the address to dial for `host`. Raises OSError."""
        return host

    def registration(self) -> "dict[str, object]":
        """Return what the device says of itself."""
        return {
            "role": Role.SERVICE,
            "firmware": self._about,
            "hardware_id": self.target_id,
            "boot_id": self._boot_id,
            "max_line_bytes": MAX_LINE_BYTES,
        }

    def on_registered(self, link: "Link", registered: "Registered", asked_us: int) -> None:
        """Begin with `link`."""
        if self._sources is not None:
            self._sources.on_registered(link, registered, asked_us)

    async def serve(self, link: "Link") -> None:
        """Keep the hub's clock beside the link, where there are streams."""
        if self._sources is not None:
            await self._sources.attend(link)

    def on_lost(self) -> None:
        """Let go of the link."""

    def on_state(self, state: str) -> None:
        """See how far it is to the hub."""
