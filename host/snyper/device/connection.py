"""One HTTP connection to a server: opened when it is needed, kept while both sides will, for one thread."""

import http.client
import select
import socket
import ssl
from typing import Any, Callable, Dict, Iterable, Mapping, Optional, Tuple, Union
from urllib.parse import urljoin, urlsplit

from snyper.device import settings
from snyper.device.answer import Answer, Lost, reason_of, unanswered
from snyper.device.errors import BadAnswer, Unreachable
from snyper.device.limits import Limits

TIMEOUT_S = 30.0  # that a connection, and each step of sending and of an answer, may take

# What has not left this computer is lost with a connection, so it is kept short; it still fills a link of
# 10 MB/s at 20 ms.
_SEND_BUFFER_BYTES = 128 * 1024

_INFORMATIONAL = b"HTTP/1.1 1"

Block = Union[bytes, memoryview]


class Body:
    """The content of a request: how many bytes, and from where. `blocks` may be asked for once."""

    def __init__(self, length: int, blocks: Iterable[Block]) -> None:
        self.length = length
        self.blocks = blocks


class _Response(http.client.HTTPResponse):
    def _read_status(self) -> Tuple[str, int, str]:
        """Read the status line, past all informational responses, of which `http.client` knows 100 alone."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 101 < status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)


class Connection:
    """A connection to the server at `url`, which may have a path that all requests begin with.

    `timeout` is in seconds, for each step. With https:// its certificate is checked against `ca_file` or
    SNYPER_CA_FILE, else against the system's. `key` goes along with each request; left out it is
    SNYPER_SERVICE_KEY. Proxies in the environment are for the web, not for a server that has a URL of its own
    here: none is used. Raises ValueError for what is no URL.
    """

    def __init__(
        self,
        url: str,
        timeout: float = TIMEOUT_S,
        key: Optional[str] = None,
        ca_file: Optional[str] = None,
    ) -> None:
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(f"{url!r} is no http://HOST:PORT")
        if parts.query or parts.fragment or not is_plain(self.url):
            raise ValueError(f"{url!r} has more than a plain path")
        self._is_tls = parts.scheme == "https"
        self._host: str = parts.hostname
        self._port = parts.port
        self._path = parts.path
        self._timeout = timeout
        self.key = settings.service_key() if key is None else key
        if self.key and not (is_plain(self.key.replace(" ", "")) and self.key == self.key.strip()):
            raise ValueError("the key has blanks around it, or letters that are not ASCII")
        self._ca_file = settings.ca_file() if ca_file is None else ca_file
        self._open: Optional[http.client.HTTPConnection] = None
        self.opened = 0  # how often

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tls(self) -> Optional[ssl.SSLContext]:
        """Return what checks the certificate of an https:// server, None for another. Raises OSError for a
        file of certificates that is none.
        """
        return ssl.create_default_context(cafile=self._ca_file) if self._is_tls else None

    def close(self) -> None:
        """Close it. The next request opens it anew."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def target_of(self, location: str, endpoint: str) -> str:
        """Return the path of a `Location` that `endpoint` has answered. Raises BadAnswer where it is on
        another server, which would get the key.
        """
        parts = urlsplit(urljoin(self.url + endpoint, location))
        mine = urlsplit(self.url)
        if (parts.scheme, parts.netloc) != (mine.scheme, mine.netloc):
            raise BadAnswer(f"{self.url} sends on to another server, {parts.netloc}")
        return parts.path + ("?" + parts.query if parts.query else "")

    def request(
        self,
        method: str,
        endpoint: str,
        headers: Optional[Mapping[str, str]] = None,
        body: Optional[Body] = None,
        limits: Optional[Limits] = None,
        take: Callable[[Answer], Any] = Answer.discard,
    ) -> Any:
        """Send a request to a path below the URL and return what `take` makes of the answer, whatever its
        status.

        Raises ValueError for what is no path, Unreachable for everything that the network does,
        ssl.SSLCertVerificationError for a server that is another, and what `take` and the blocks of `body`
        raise.
        """
        if not endpoint.startswith("/") or not is_plain(endpoint):
            raise ValueError(f"{endpoint!r} is no path such as /api/process/file")
        return self.request_target(method, self._path + endpoint, headers, body, limits, take)

    def request_target(
        self,
        method: str,
        target: str,
        headers: Optional[Mapping[str, str]] = None,
        body: Optional[Body] = None,
        limits: Optional[Limits] = None,
        take: Callable[[Answer], Any] = Answer.discard,
    ) -> Any:
        """Send a request to a path as the server itself has it, otherwise as `request` does."""
        limits = limits or Limits()
        is_whole = False
        try:
            connected = self._connected(limits)
            with limits.guard(connected.sock):
                _send_head(connected, method, target, self._headers(headers, body))
                was_sent = body is None or _send(connected, body)
                answer = _answer_of(connected)
                taken = take(answer)
                is_whole = was_sent and not answer.will_close
        except Lost as lost:
            limits.remaining_s()  # perhaps its time was over
            raise Unreachable(f"{self.url}: {lost}") from lost
        finally:
            if not is_whole:  # what comes next on it could belong to this answer
                self.close()
        return taken

    def _headers(self, headers: Optional[Mapping[str, str]], body: Optional[Body]) -> Dict[str, str]:
        all_headers = {"User-Agent": "snyper", "Accept-Encoding": "identity"}
        if self.key:
            all_headers["Authorization"] = "Bearer " + self.key
        if body is not None:
            all_headers["Content-Length"] = str(body.length)
        all_headers.update(headers or {})
        return all_headers

    def _connected(self, limits: Limits) -> http.client.HTTPConnection:
        left = limits.remaining_s()
        if self._open is not None and _is_over(self._open.sock):
            self.close()
        if self._open is None:
            self._open = self._connect(self._timeout if left is None else min(self._timeout, left))
            self.opened += 1
        self._open.sock.settimeout(self._timeout)
        return self._open

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        context = self.tls()
        if context is not None:
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout, context=context
            )
        else:
            made = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        made.response_class = _Response
        try:
            made.connect()
        except ssl.SSLCertVerificationError:
            raise
        except ConnectionRefusedError as error:
            raise Lost(f"{reason_of(error)}: is a server running there?") from error
        except (OSError, UnicodeError) as error:
            raise Lost(reason_of(error)) from error
        made.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        return made


def is_plain(text: str) -> bool:
    """Tell whether a text is ASCII without blanks, as URLs and keys are."""
    return text.isascii() and text.isprintable() and " " not in text


def _send_head(
    connected: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str]
) -> None:
    connected.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connected.putheader(name, value)
    try:
        connected.endheaders()
    except OSError as error:
        raise Lost(reason_of(error)) from error


def _send(connected: http.client.HTTPConnection, body: Body) -> bool:
    """Send a body, and tell whether all of it went out: a server that answers before has it refused."""
    for block in body.blocks:
        if _answers_early(connected.sock):
            return False
        try:
            connected.send(block)
        except socket.timeout as error:
            raise Lost(reason_of(error)) from error
        except OSError:  # an answer may have come before
            return False
    return True


def _answer_of(connected: http.client.HTTPConnection) -> Answer:
    try:
        return Answer(connected.getresponse())
    except ConnectionResetError as error:
        raise Lost(unanswered(isinstance(connected, http.client.HTTPSConnection))) from error
    except (OSError, http.client.HTTPException) as error:
        raise Lost(reason_of(error)) from error


def _answers_early(connected: socket.socket) -> bool:
    """Tell whether the answer, or the connection's end, is there. Of TLS nobody knows: what is to be read may
    be its own. Behind an informational answer nothing is seen.
    """
    if isinstance(connected, ssl.SSLSocket) or not _is_readable(connected):
        return False
    try:
        begin = connected.recv(len(_INFORMATIONAL), socket.MSG_PEEK)
    except OSError:
        return True
    return not begin or not _INFORMATIONAL.startswith(begin)


def _is_over(connected: Optional[socket.socket]) -> bool:
    """Tell whether an idle connection has ended: nothing comes on it but its end."""
    return connected is None or _is_readable(connected)


def _is_readable(connected: socket.socket) -> bool:
    if hasattr(select, "poll"):  # `select` knows no descriptor beyond 1023
        poll = select.poll()
        poll.register(connected, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([connected], [], [], 0)[0])
