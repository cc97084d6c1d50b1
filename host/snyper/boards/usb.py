"""One board on a USB port. All that is known of mpremote stands here, and its errors end here.

A board appears under a port's name (`/dev/ttyACM0`), vanishes with every reset, and may come back under
another: it is found again by its USB serial number. A pseudo-terminal has none, and keeps its name.
"""

import errno
import hashlib
import inspect
import json
import secrets
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from mpremote import transport_serial  # type: ignore[import-untyped]
from mpremote.transport import TransportError, TransportExecError  # type: ignore[import-untyped]

from snyper.boards.ports import BoardError, explain_failure, port_of, serial_number_of, usb_ports
from snyper.boards.syntax import literal
from snyper.firmware.board.update import finish_renames

# It prints what it does not understand; a command's stdout is the command's own.
transport_serial.print = lambda *_: None

# What an open port that fails may raise besides OSError: `termios.error` is no OSError, and mpremote unpacks
# an answer that did not come.
_LOST: tuple[type[Exception], ...] = (OSError, TransportError, struct.error, UnicodeDecodeError)
if sys.platform != "win32":
    import termios

    _LOST = (*_LOST, termios.error)
_ERRORS: tuple[type[Exception], ...] = (BoardError, *_LOST)

PATIENCE_S = 20.0  # a board in a crash loop has a port only now and then
RUN_TIMEOUT_S = 30.0  # between two characters of an answer; the longest silence is a flash that is tidied up
ANSWER_TIMEOUT_S = 5.0  # of one read of mpremote's
CHUNK_BYTES = 1024  # a statement on the board that writes so many is up to four times as long
HASHES_AT_ONCE = 16  # an answer about more may not find its memory in one piece on a board
ANSWER_DUE_S = 60.0  # all of an answer, however slowly it comes
MAX_ANSWER_BYTES = 65_536  # the longest is a list of all files
MAX_FILE_BYTES = 65_536  # of one that is read: settings, a list of files, or 4 kB of a log
LOOK_S = 0.05  # how long one read of a port waits
MAX_LOOK_S = 0.1  # what counts of the time between two of them
MAX_SHOWN_CHARS = 80
QUIET_S = 0.05
ATTEMPT_S = 1.5  # to interrupt what runs
RESET_ATTEMPTS = 3  # of that, before a reset

_BANNER = b"raw REPL; CTRL-B to exit\r\n"
_INTERRUPT = b"\r\x03\x03\r\x01"  # Ctrl-C twice, for what catches one; Ctrl-A for the raw REPL

_NO_ANSWER = (
    "nothing on this port answers as MicroPython does. Is it the right one (`snyper boards` lists them)? Does"
    " it run MicroPython? If it does, unplug it, plug it in and try again"
)

Progress = Callable[[int], None]
T = TypeVar("T")

_SHA256 = """
import binascii, hashlib, json
def sha256(path):
    try:
        file = open(path, 'rb')
    except OSError:
        return None
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(512))
    with file:
        while True:
            size = file.readinto(buffer)
            if not size:
                return binascii.hexlify(digest.digest()).decode()
            digest.update(buffer[:size])
"""

_IDENTITY = """
import binascii, json, sys
def identity():
    import machine
    try:
        import network
        has_wifi = hasattr(network, 'WLAN')
    except ImportError:
        has_wifi = False
    return {'platform': sys.platform, 'version': list(sys.implementation.version[:3]),
        'name': getattr(sys.implementation, '_machine', sys.platform), 'has_wifi': has_wifi,
        'unique_id': binascii.hexlify(machine.unique_id()).decode()}
print(json.dumps(identity()))
"""


_FREE_MEMORY = """
import gc, sys
for name in list(sys.modules):
    if name.split('.')[0] in ('snyper', 'firmware', 'shared', 'asyncio'):
        del sys.modules[name]
for name in list(globals()):
    if name[0] != '_':
        del globals()[name]
__import__('gc').collect()
"""

_FINISH_RENAMES = f"import os\n{inspect.getsource(finish_renames)}finish_renames()\n"


class LostError(BoardError):
    """The connection broke off: a cable, a reset, or a board that hangs."""


def _end_check() -> Callable[[int, int], None]:
    """Return what is told how much of a file has been read. It raises LostError for one that has no end."""
    read = 0

    def check(done: int, size: int) -> None:
        nonlocal read
        if read % CHUNK_BYTES:  # a piece that was not whole has been its last
            raise LostError("a file of the board goes on after its end: try again")
        if done > MAX_FILE_BYTES:
            raise LostError(f"a file of the board has more than {MAX_FILE_BYTES:,} bytes: is it ours?")
        read = done

    return check


@dataclass(frozen=True)
class Identity:
    """The identity of a board, as its MicroPython says it. `unique_id` is hexadecimal."""

    platform: str
    version: tuple[int, ...]
    name: str
    has_wifi: bool
    unique_id: str


class _Wait:
    """Counts how long something is waited for: `total_s`, and `silent_s` since the last of it came.

    A computer that stands still holds up the answer too, so of the time between two looks no more counts than
    one takes.
    """

    def __init__(self) -> None:
        self._looked_s = time.monotonic()
        self.total_s = self.silent_s = 0.0

    def count(self, has_come: object) -> None:
        """Count the time since the last look."""
        now_s = time.monotonic()
        step_s = min(now_s - self._looked_s, MAX_LOOK_S)
        self._looked_s = now_s
        self.total_s += step_s
        self.silent_s = 0.0 if has_come else self.silent_s + step_s


class _ReadAhead:
    """An open serial port from which all that has come is read at once: mpremote takes byte by byte, and each
    read of a port costs several system calls.
    """

    def __init__(self, port: Any) -> None:
        self._port = port
        self.timeout: float | None = port.timeout  # how long a read waits, in seconds; None: without end
        port.timeout = LOOK_S
        self._ahead = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    @property
    def in_waiting(self) -> int:
        """Return how many bytes can be read without waiting."""
        return len(self._ahead) + int(self._port.in_waiting)

    def inWaiting(self) -> int:
        """Return `in_waiting` by the name that mpremote knows."""
        return self.in_waiting

    def await_some(self, size: int) -> bool:
        """Tell whether there is something to be read, `size` bytes or what comes of them within LOOK_S."""
        missing = size - len(self._ahead)
        if missing > 0:
            self._ahead += self._port.read(max(missing, self._port.in_waiting))
        return bool(self._ahead)

    def read(self, size: int = 1) -> bytes:
        """Read `size` bytes, or what has come of them within `timeout`."""
        wait = _Wait()
        while len(self._ahead) < size and (self.timeout is None or wait.total_s < self.timeout):
            wait.count(self.await_some(size))
        data = bytes(self._ahead[:size])
        del self._ahead[:size]
        return data


class _Transport(transport_serial.SerialTransport):  # type: ignore[misc]
    """mpremote's connection, for boards that are served in several threads at once, and for any board: one
    that prints without end does not hold it up.
    """

    on_wait: Callable[[], None] = staticmethod(lambda: None)  # called now and then while an answer is due

    def read_until(
        self,
        min_num_bytes: int,
        ending: bytes,
        timeout: float | None = 10,
        data_consumer: None = None,
        timeout_overall: float | None = None,
    ) -> bytes:
        """Read up to and with `ending`; less, when nothing comes for `timeout` seconds, or not all within
        `timeout_overall`, by default ANSWER_DUE_S. Raises TransportError after MAX_ANSWER_BYTES.
        """
        wait = _Wait()
        told_s = 0.0
        answer = bytearray()
        while not answer.endswith(ending):
            piece = self.serial.read(1) if self.serial.await_some(1) else b""
            wait.count(piece)
            if wait.total_s >= told_s + QUIET_S:
                told_s = wait.total_s
                self.on_wait()
            if piece:
                answer += piece
                if len(answer) > MAX_ANSWER_BYTES:
                    raise TransportError("it prints without end")
            elif timeout is not None and wait.silent_s >= timeout:
                break
            if wait.total_s >= (ANSWER_DUE_S if timeout_overall is None else timeout_overall):
                break
        return bytes(answer)

    def __init__(self, port: str) -> None:
        """Open the port. Raises OSError, TransportError."""
        super().__init__(port, timeout=ANSWER_TIMEOUT_S)
        self._port: Any = self.serial
        self.serial: Any = _ReadAhead(self._port)

    def close(self) -> None:
        """Close the port as mpremote does. Raises OSError."""
        self.serial = self._port
        super().close()

    def eval(self, expression: str, parse: bool = True) -> Any:
        """Evaluate `expression` on the board; return its value, or with `parse` off the bytes it prints.

        Raises TransportError when that is no value.
        """
        if not parse:
            return super().eval(expression, parse=False)
        printed = super().eval(f"repr({expression})", parse=False)
        try:
            return literal(printed.decode())
        except (SyntaxError, ValueError):
            raise TransportError(f"{printed[:40]!r} is no value") from None


class Connection:
    """An open port. Every method raises BoardError. A port that has vanished is opened again where it can be
    known again, by its serial number.
    """

    def __init__(self, port: str, patience_s: float = PATIENCE_S) -> None:
        """Open the port and disturb nothing. Raises BoardError that says why it cannot."""
        self.port = port
        self._patience_s = patience_s
        self._serial_number = serial_number_of(port)
        self.on_wait: Callable[[], None] = lambda: None  # called while the board's answer is due; may raise
        self._transport: Any = None
        self._rest = b""
        self._is_at_prompt = False
        self._open()

    def close(self) -> None:
        """Let the port go; what runs on the board runs on. May be called again."""
        transport, self._transport = self._transport, None
        self._is_at_prompt = False
        if transport is not None:
            with suppress(*_LOST):
                transport.close()

    # --- the board's Python

    def enter_repl(self, wait: Callable[[], None] | None = None) -> None:
        """Interrupt what runs and take the board's prompt, without a reset of any kind. What the firmware
        left in the memory, which may be nearly full of it, is let go, and what a power cut left of a change
        to the flash is completed.

        It tries for as long as its patience lasts, and calls `wait` each time: a board that resets again and
        again has to be caught.
        """
        give_up_at = time.monotonic() + self._patience_s
        while True:
            why = _NO_ANSWER
            if wait is not None:
                wait()
            try:
                self._reopen()
                if self._take_prompt():
                    self.run(_FREE_MEMORY)
                    self.run(_FINISH_RENAMES)
                    self._is_at_prompt = True
                    return
            except BoardError as error:
                why = str(error)
                if self._transport is None and not self._serial_number:
                    raise
                time.sleep(QUIET_S)
            except _LOST as error:
                self._close_if_gone(error)
            if time.monotonic() > give_up_at:
                raise BoardError(why)

    def run(self, source: str) -> Any:
        """Run `source` at the prompt; return what it printed, which is one JSON document or nothing."""
        with self._lost_is_translated():
            try:
                printed, error_output = self._transport.exec_raw(source, timeout=RUN_TIMEOUT_S)
            except TransportExecError as error:
                printed, error_output = b"", error.error_output.encode()
        if error_output:
            raise BoardError(f"the board says: {_last_line(error_output.decode(errors='replace'))}")
        try:
            return json.loads(printed) if printed.strip() else None
        except (ValueError, RecursionError):
            raise LostError(f"the board answers with rubbish ({printed[:40]!r}): try again") from None

    def ask(self, source: str, read: Callable[[Any], T]) -> T:
        """Run `source`, which prints one JSON document, and return what `read` makes of that. What it cannot
        read, it has to raise KeyError, TypeError or ValueError for.
        """
        said = self.run(source)
        if said is None:
            raise LostError("the board gives no answer: try again")
        try:
            return read(said)
        except (KeyError, TypeError, ValueError):
            shown = clipped(json.dumps(said))
            raise LostError(f"the board answers what MicroPython does not ({shown}): try again") from None

    def identity(self) -> Identity:
        """Ask the board which one it is. Raises BoardError."""
        return self.ask(_IDENTITY, _identity_in)

    # --- its flash; paths are absolute

    def hashes(self, paths: Iterable[str]) -> dict[str, str | None]:
        """Return the SHA-256 of each of these files, None for one that is not there."""
        paths = list(paths)
        found: dict[str, str | None] = {}
        for first in range(0, len(paths), HASHES_AT_ONCE):
            asked = paths[first : first + HASHES_AT_ONCE]
            digests = self.ask(
                f"{_SHA256}\nprint(json.dumps([sha256(path) for path in {asked!r}]))", _digests_in
            )
            if len(digests) != len(asked):
                raise LostError(f"the board answers {len(digests)} of {len(asked)} questions: try again")
            found |= zip(asked, digests, strict=True)
        return found

    def read(self, path: str) -> bytes | None:
        """Read a file; None where there is none. Raises LostError for one of more than MAX_FILE_BYTES."""
        with self._lost_is_translated():
            try:
                if not self._transport.fs_exists(path):
                    return None
                return bytes(self._transport.fs_readfile(path, CHUNK_BYTES, _end_check()))
            except (TypeError, ValueError):  # mpremote takes what a board says for what it has asked for
                raise LostError("the board answers with rubbish: try again") from None

    def write(self, path: str, content: bytes, progress: Progress | None = None) -> None:
        """Write a file whose directory exists. `progress` is told how many bytes are written."""
        with self._lost_is_translated():
            self._transport.fs_writefile(
                path, content, CHUNK_BYTES, None if progress is None else lambda done, _: progress(done)
            )

    def names(self) -> set[str]:
        """List what is in the root of its flash."""
        return self.ask("import os, json\nprint(json.dumps(os.listdir('/')))", _names_in)

    # --- resets, and what the board prints

    def reset(self) -> bool:
        """Reset the board as its button does. The port may vanish: `line` and `enter_repl` find it again.
        False where the board did not take it.
        """
        self._rest = b""
        was_reset = False
        with suppress(*_ERRORS):
            if not self._is_at_prompt:
                self._reopen()
                if not any(self._take_prompt() for _ in range(RESET_ATTEMPTS)):
                    return False
            self._transport.exec_raw_no_follow("import machine\nmachine.reset()")
            was_reset = True
        self._is_at_prompt = False
        if self._serial_number:
            self.close()  # it is about to go, and a port that is held comes back under another name
            self._wait_until_gone()
        return was_reset

    def line(self, timeout_s: float) -> str | None:
        """Return the next line that the board prints by itself; None when none comes in time. A port that has
        vanished is waited for. Raises LostError for one that could not be known again.
        """
        give_up_at = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            left_s = give_up_at - time.monotonic()
            if left_s <= 0:
                return None
            try:
                self._reopen()
                self._transport.serial.timeout = min(left_s, 0.2)
                self._rest += self._transport.serial.read(max(1, self._transport.serial.in_waiting))
                self._rest = self._rest[-MAX_ANSWER_BYTES:]
                self._transport.serial.timeout = ANSWER_TIMEOUT_S
            except _ERRORS as error:
                self._close_if_gone(error)
                if not self._serial_number and self._transport is None:
                    raise LostError("the port is gone: check the cable, try again") from None
                time.sleep(min(left_s, QUIET_S))
        line, _, self._rest = self._rest.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def press_enter(self) -> None:
        """Make a board that waits at its prompt show it; a firmware that runs takes no notice."""
        with suppress(*_LOST, AttributeError):
            self._transport.serial.write(b"\r")

    # ---

    def _open(self) -> None:
        try:
            self._transport = _Transport(self.port)
        except _LOST:
            raise BoardError(explain_failure(self.port)) from None
        self._transport.on_wait = lambda: self.on_wait()

    def _reopen(self) -> None:
        if self._transport is not None:
            return
        if not self._serial_number:  # what has its name now may be another board
            raise LostError("the port is gone: check the cable, try again")
        self.port = port_of(self._serial_number)
        self._rest = b""
        self._open()

    def _close_if_gone(self, error: Exception) -> None:
        """Close a port that fails; a board that does not answer as expected is still there."""
        if not isinstance(error, (BoardError, TransportError, struct.error, UnicodeDecodeError)):
            self.close()

    def _wait_until_gone(self) -> None:
        give_up_at = time.monotonic() + ATTEMPT_S
        while time.monotonic() < give_up_at and any(found.port == self.port for found in usb_ports()):
            time.sleep(QUIET_S)

    def _take_prompt(self) -> bool:
        transport = self._transport
        transport.serial.timeout = QUIET_S
        transport.serial.write(_INTERRUPT)
        if not transport.read_until(1, _BANNER, timeout_overall=ATTEMPT_S).endswith(_BANNER):
            return False
        # What earlier attempts caused is still under way, and all of it comes before what is asked only now.
        word = secrets.token_hex(8)
        transport.serial.write(f"print(end='{word}')\x04".encode())
        answer = f"{word}\x04\x04".encode()
        is_there = bool(transport.read_until(1, answer, timeout_overall=ATTEMPT_S).endswith(answer))
        transport.serial.timeout = ANSWER_TIMEOUT_S
        return is_there

    @contextmanager
    def _lost_is_translated(self) -> Iterator[None]:
        if self._transport is None:
            raise LostError("the port is closed")
        try:
            yield
        except TransportExecError as error:
            raise BoardError(f"the board says: {_last_line(error.error_output)}") from None
        except _LOST as error:
            if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                raise BoardError(
                    "the board's flash is full: delete files that you do not need (`mpremote rm`)"
                ) from None
            self._is_at_prompt = False
            self._close_if_gone(error)
            raise LostError(
                f"the board does not answer any more ({_last_line(str(error))}): check the cable, try again"
            ) from None
        except BaseException:  # `on_wait` ends it: the answer is still to come
            self._is_at_prompt = False
            raise


def _identity_in(said: Any) -> Identity:
    fields = [said[name] for name in ("platform", "name", "unique_id")]
    version = tuple(said["version"])
    if any(type(field) is not str for field in fields) or any(type(number) is not int for number in version):
        raise ValueError
    return Identity(
        clipped(fields[0]), version[:3], clipped(fields[1]), said["has_wifi"] is True, clipped(fields[2])
    )


def _digests_in(said: Any) -> list[str | None]:
    if type(said) is not list or any(type(digest) not in (str, type(None)) for digest in said):
        raise ValueError
    return said


def _names_in(said: Any) -> set[str]:
    if type(said) is not list or any(type(name) is not str for name in said):
        raise ValueError
    return set(said)


def clipped(text: str) -> str:
    """Clip what a board says to what a line of a table has place for, and mark what cannot be printed."""
    shown = text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}…"
    return "".join(char if char.isprintable() else "?" for char in shown)


def sha256(content: bytes) -> str:
    """Return the SHA-256 in hexadecimal, as `Connection.hashes` does."""
    return hashlib.sha256(content).hexdigest()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
