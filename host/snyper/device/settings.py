"""Settings from the environment, with their defaults. Read when they are needed, never kept."""

import os
from pathlib import Path
from typing import Optional, Sequence
from urllib.parse import urlsplit

LOCAL = "local"
REMOTE = "remote"
HOST_NAMES = "SNYPER_HOST_NAMES"


def service_server_url() -> str:
    """Return the URL of the laptop's server, which a device sends to."""
    return os.environ.get("SERVICE_SERVER_URL") or "http://192.168.6.1:8000"


def client_server_url() -> str:
    """Return the URL of the device's server, which the laptop pushes to."""
    return os.environ.get("CLIENT_SERVER_URL") or "http://192.168.6.2:8001"


def receiver_address() -> str:
    """Return where this device receives: HOST:PORT of CLIENT_SERVER_URL if it is set, else on its own
    computer alone. Raises ValueError for what is no URL.
    """
    url = os.environ.get("CLIENT_SERVER_URL")
    if not url:
        return "127.0.0.1:8001"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
    except (KeyError, ValueError):
        host, port = None, 0
    if not host:
        raise ValueError(f"CLIENT_SERVER_URL is {url!r}, which is no http://HOST:PORT")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def service_mode() -> str:
    """Return where work is done: `local` or `remote`. Raises ValueError for any other word."""
    mode = os.environ.get("SERVICE_MODE") or LOCAL
    if mode not in (LOCAL, REMOTE):
        raise ValueError(f"SERVICE_MODE is {mode!r}, which is neither local nor remote")
    return mode


def service_key() -> Optional[str]:
    """Return the key that servers ask for, or None."""
    return (os.environ.get("SNYPER_SERVICE_KEY") or "").strip() or None


def host_names() -> Sequence[str]:
    """Return the names, beside those of its own network, by which a server without a key is reached."""
    names = os.environ.get(HOST_NAMES, "").lower().split(",")
    return [name.strip().rstrip(".") for name in names]


def ca_file() -> Optional[str]:
    """Return the file of certificates that servers are checked against, or None for the system's."""
    return os.environ.get("SNYPER_CA_FILE") or None


def outbox_folder() -> Path:
    """Return the folder of the outbox. Raises ValueError for a user without a home directory."""
    named = os.environ.get("SNYPER_OUTBOX")
    if named:
        return Path(named)
    data = os.environ.get("XDG_DATA_HOME")
    try:
        folder = Path(data) if data else Path("~/.local/share").expanduser()
    except RuntimeError:
        raise ValueError("there is no home directory: SNYPER_OUTBOX names the outbox's folder") from None
    return folder / "snyper" / "outbox"
