"""Files and JSON pushed to a device, which receives them."""

from pathlib import Path
from typing import Any, Optional, Union

from snyper.device import settings
from snyper.device.connection import TIMEOUT_S, Connection
from snyper.device.limits import Limits
from snyper.device.multipart import OnSent
from snyper.device.retrying import TRIES
from snyper.device.sending import new_key, send_file, send_json, unheard
from snyper.device.threads import in_thread

FILE_ENDPOINT = "/api/receive/file"
DATA_ENDPOINT = "/api/receive/data"


class ClientPush:
    """Pushes to the device at `client_url`, which left out is CLIENT_SERVER_URL.

    `timeout` is in seconds, for the connection and each wait; `total_s` for all of a push, its `tries`
    included. `key` and `ca_file` are as in the environment, if left out. May be used from many threads.

    A push returns the JSON that the device answers. It raises Refused, ServerFailed, Unreachable, TimedOut,
    BadAnswer, FileChanged, which are TransferError; FileNotFoundError and other OSErrors for files;
    ssl.SSLCertVerificationError for a device that is another.
    """

    def __init__(
        self,
        client_url: Optional[str] = None,
        timeout: float = TIMEOUT_S,
        *,
        key: Optional[str] = None,
        ca_file: Optional[str] = None,
        tries: int = TRIES,
        total_s: Optional[float] = None,
        compress: bool = False,
    ) -> None:
        self.client_url = (settings.client_server_url() if client_url is None else client_url).rstrip("/")
        self.timeout = timeout
        self._key = key
        self._ca_file = ca_file
        self._tries = tries
        self._total_s = total_s
        self._compress = compress
        self._connection().close()  # which says what is wrong with the URL

    async def push_file(
        self, file_path: Union[str, Path], endpoint: str = FILE_ENDPOINT, on_sent: OnSent = unheard
    ) -> Any:
        """Push a file. Cancelled, it hangs up."""
        limits = Limits(self._total_s)
        return await in_thread(lambda: self._push_file(Path(file_path), endpoint, on_sent, limits), limits)

    async def push_data(self, data: object, endpoint: str = DATA_ENDPOINT) -> Any:
        """Push JSON. Cancelled, it hangs up."""
        limits = Limits(self._total_s)
        return await in_thread(lambda: self._push_data(data, endpoint, limits), limits)

    def push_file_sync(
        self, file_path: Union[str, Path], endpoint: str = FILE_ENDPOINT, on_sent: OnSent = unheard
    ) -> Any:
        """Push a file, and wait for it."""
        return self._push_file(Path(file_path), endpoint, on_sent, Limits(self._total_s))

    def push_data_sync(self, data: object, endpoint: str = DATA_ENDPOINT) -> Any:
        """Push JSON, and wait for it."""
        return self._push_data(data, endpoint, Limits(self._total_s))

    def _connection(self) -> Connection:
        return Connection(self.client_url, self.timeout, self._key, self._ca_file)

    def _push_file(self, path: Path, endpoint: str, on_sent: OnSent, limits: Limits) -> Any:
        with self._connection() as connection:
            return send_file(
                *(connection, endpoint, path, new_key()),
                limits=limits,
                tries=self._tries,
                on_sent=on_sent,
                compress=self._compress,
            )

    def _push_data(self, data: object, endpoint: str, limits: Limits) -> Any:
        with self._connection() as connection:
            return send_json(
                connection, endpoint, {"data": data}, new_key(), limits, self._tries, compress=self._compress
            )
