"""Adapters: work done by a server, or here, through one interface."""

import inspect
import json
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Union

from snyper.device import settings
from snyper.device.answer import Answer
from snyper.device.connection import TIMEOUT_S, Connection
from snyper.device.errors import BadAnswer
from snyper.device.jobs import PREFER, LongWork, OnProgress
from snyper.device.limits import Limits
from snyper.device.multipart import OnSent
from snyper.device.retrying import TRIES
from snyper.device.sending import Take, new_key, send_file, send_json, unheard
from snyper.device.threads import in_thread

Options = Union[None, str, Dict[str, Any]]
Result = Any  # the path of a result file, or the JSON that is the result

_RESULT_BYTES = 1024 * 1024 * 1024  # more than that fills a device's card


class RemoteFileAdapter:
    """Work done by the server at `server_url`, which left out is SERVICE_SERVER_URL.

    `timeout` is in seconds, for the connection and for each wait, so also for a result; `total_s` is for all
    of a call, its `tries` included. A file goes to `path` in the field `field`, data to `data_path`. Result
    files come into the folder `save_to`, which left out is the system's temporary one; whoever asked for one
    removes it. `key` and `ca_file` are as in the environment, if left out. May be used from many threads, and
    within a running event loop, which a call without `async` holds up.

    Each call has an Idempotency-Key over all its tries: a server that takes such keys runs it once.

    With `long` the work may take longer than `timeout`: the server is asked how it stands, now and then, and
    `on_progress(share, place)` is told. What is called off, by Ctrl-C, by a cancelled task or by the end of
    `total_s`, ends at the server too.

    Calls raise Refused, ServerFailed, Unreachable, TimedOut, BadAnswer, FileChanged, which are TransferError;
    FileNotFoundError and other OSErrors for files; ssl.SSLCertVerificationError for a server that is another.
    """

    def __init__(
        self,
        server_url: Optional[str] = None,
        timeout: float = TIMEOUT_S,
        *,
        path: str = "/api/process/file",
        field: str = "file",
        data_path: str = "/api/process/data",
        key: Optional[str] = None,
        ca_file: Optional[str] = None,
        tries: int = TRIES,
        total_s: Optional[float] = None,
        compress: bool = False,
        save_to: Union[str, Path, None] = None,
        max_result_bytes: int = _RESULT_BYTES,
        long: bool = False,
        on_progress: Optional[OnProgress] = None,
    ) -> None:
        self.server_url = (settings.service_server_url() if server_url is None else server_url).rstrip("/")
        self.timeout = timeout
        self._path = path
        self._field = field
        self._data_path = data_path
        self._key = key
        self._ca_file = ca_file
        self._tries = tries
        self._total_s = total_s
        self._compress = compress
        self._save_to = save_to
        self._max_result_bytes = max_result_bytes
        self._long = long
        self._on_progress = on_progress
        self._connection().close()  # which says what is wrong with the URL

    def process(
        self, file_path: Union[str, Path], options: Options = None, on_sent: OnSent = unheard
    ) -> Result:
        """Have a file processed. Return the JSON that comes of it, or the path of a new file, as text.

        `options` go as text, a dictionary as JSON; left out they are "default".
        """
        return self._process(Path(file_path), options, on_sent, Limits(self._total_s))

    async def process_async(
        self, file_path: Union[str, Path], options: Options = None, on_sent: OnSent = unheard
    ) -> Result:
        """Have a file processed, as `process` does. Cancelled, it hangs up."""
        limits = Limits(self._total_s)
        return await in_thread(lambda: self._process(Path(file_path), options, on_sent, limits), limits)

    def process_data(self, data: object, options: Options = None) -> Any:
        """Have JSON processed, and return the `result`."""
        return _result_of(self.post(self._data_path, _data_body(data, options)))

    async def process_data_async(self, data: object, options: Options = None) -> Any:
        """Have JSON processed, as `process_data` does. Cancelled, it hangs up."""
        return _result_of(await self.post_async(self._data_path, _data_body(data, options)))

    def post(self, path: str, value: object) -> Any:
        """Send JSON to any path of the server, and return the JSON that it answers."""
        return self._post(path, value, Limits(self._total_s))

    async def post_async(self, path: str, value: object) -> Any:
        """Send JSON, as `post` does. Cancelled, it hangs up."""
        limits = Limits(self._total_s)
        return await in_thread(lambda: self._post(path, value, limits), limits)

    def _connection(self) -> Connection:
        return Connection(self.server_url, self.timeout, self._key, self._ca_file)

    def _process(self, path: Path, options: Options, on_sent: OnSent, limits: Limits) -> Result:
        folder = Path(tempfile.gettempdir() if self._save_to is None else self._save_to)
        if not folder.is_dir():  # which is no news to get with the result
            raise NotADirectoryError(f"there is no folder {folder} for results")

        def take(answer: Answer) -> Result:
            if answer.is_json:
                value = answer.value()
                if isinstance(value, str):
                    # Whoever asked would take it for a file here, and remove that.
                    raise BadAnswer("the answer is a text, which may be the path of a file or not")
                return value
            return str(answer.save(folder, path.name, self._max_result_bytes))

        key = new_key()

        def send(connection: Connection, take: Take, headers: Optional[Dict[str, str]]) -> Result:
            return send_file(
                *(connection, self._path, path, key, self._field, None),
                fields={"options": options_text(options)},
                limits=limits,
                tries=self._tries,
                on_sent=on_sent,
                take=take,
                compress=self._compress,
                headers=headers,
            )

        return self._send(self._path, send, take, limits)

    def _post(self, path: str, value: object, limits: Limits) -> Any:
        key = new_key()

        def send(connection: Connection, take: Take, headers: Optional[Dict[str, str]]) -> Any:
            return send_json(
                *(connection, path, value, key, limits, self._tries, take, self._compress, headers)
            )

        return self._send(path, send, Answer.value, limits)

    def _send(self, endpoint: str, send: Callable[..., Any], take: Take, limits: Limits) -> Any:
        with self._connection() as connection:
            if not self._long:
                return send(connection, take, None)
            return LongWork(
                *(connection, endpoint, lambda take: send(connection, take, PREFER), take),
                *(limits, self._tries, self._on_progress),
            ).run()


class LocalFileAdapter:
    """The same interface around functions of this program, such as those of a services.py.

    `function` takes a path, and the options as text if it has a second parameter; it returns what JSON has a
    value for, the path of a result file, or its bytes, which become a file in the folder `save_to`.
    `data_function` takes data, and options as an object. What they raise is raised as it is, which a server
    would turn into ServerFailed. Their results come out as those of a server do: a tuple as a list, the keys
    of a dictionary as text.
    """

    def __init__(
        self,
        function: Optional[Callable[..., Any]] = None,
        data_function: Optional[Callable[..., Any]] = None,
        save_to: Union[str, Path, None] = None,
    ) -> None:
        self._function = function
        self._data_function = data_function
        self._save_to = save_to

    def process(
        self, file_path: Union[str, Path], options: Options = None, on_sent: OnSent = unheard
    ) -> Result:
        """Process a file. Raises FileNotFoundError, ValueError without a function, and what that raises."""
        path = Path(file_path)
        if not path.exists():
            raise FileNotFoundError(f"File not found: {path}")
        result = _call(_needed(self._function, "function"), path, options_text(options))
        if isinstance(result, (bytes, bytearray)):
            return self._saved(bytes(result), path.suffix)
        return str(result) if isinstance(result, Path) else _through_json(result)

    async def process_async(
        self, file_path: Union[str, Path], options: Options = None, on_sent: OnSent = unheard
    ) -> Result:
        """Process a file in a thread, as `process` does. Cancelled, the function runs on, for nobody."""
        return await in_thread(lambda: self.process(file_path, options), Limits())

    def process_data(self, data: object, options: Options = None) -> Any:
        """Process data. Raises ValueError without a function for it, and what that raises."""
        function = _needed(self._data_function, "data_function")
        return _through_json(_call(function, _through_json(data), {} if options is None else options))

    async def process_data_async(self, data: object, options: Options = None) -> Any:
        """Process data in a thread, as `process_data` does. Cancelled, the function runs on, for nobody."""
        return await in_thread(lambda: self.process_data(data, options), Limits())

    def _saved(self, content: bytes, suffix: str) -> str:
        folder = None if self._save_to is None else str(self._save_to)
        with tempfile.NamedTemporaryFile("wb", suffix=suffix, dir=folder, delete=False) as file:
            file.write(content)
        return file.name


def adapter(
    function: Optional[Callable[..., Any]] = None,
    data_function: Optional[Callable[..., Any]] = None,
    **remote: Any,
) -> "Union[RemoteFileAdapter, LocalFileAdapter]":
    """Return the adapter that SERVICE_MODE names: with `remote` a RemoteFileAdapter, which takes all that is
    named, else a LocalFileAdapter around the functions. Raises ValueError for any other mode.
    """
    if settings.service_mode() == settings.REMOTE:
        return RemoteFileAdapter(**remote)
    return LocalFileAdapter(function, data_function, remote.get("save_to"))


def options_text(options: Options) -> str:
    """Return options as the text that an endpoint for files takes."""
    if options is None:
        return "default"
    return options if isinstance(options, str) else json.dumps(options, allow_nan=False)


def _data_body(data: object, options: Options) -> Dict[str, Any]:
    return {"data": data, "options": {} if options is None else options}


def _result_of(answer: Any) -> Any:
    return answer.get("result") if isinstance(answer, dict) else answer


def _needed(function: Optional[Callable[..., Any]], name: str) -> Callable[..., Any]:
    if function is None:
        raise ValueError(f"SERVICE_MODE is local and no {name} is given that does the work here")
    return function


def _call(function: Callable[..., Any], value: object, options: object) -> Any:
    takes = inspect.signature(function).parameters.values()
    count = sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in takes)
    is_open = any(one.kind == one.VAR_POSITIONAL for one in takes)
    return function(value, options) if count > 1 or is_open else function(value)


def _through_json(value: object) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))
