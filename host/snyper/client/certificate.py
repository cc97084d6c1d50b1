"""The certificate of this computer's hub, in one file beside the keys: it, and the private key to it."""

import ssl
from base64 import b64encode
from collections.abc import Iterable
from pathlib import Path

from snyper.client import key_store
from snyper.shared.address import parse_hub
from snyper.system.files import shown

FILE_NAME = "hub.pem"
_BEGIN = "-----BEGIN CERTIFICATE-----"


def default_path() -> Path:
    """Return where the certificate is. Raises KeyStoreError for a user without a home directory."""
    return key_store.default_path().with_name(FILE_NAME)


def load(path: Path) -> bytes:
    """Return the certificate in the file, as DER. Raises OSError, ValueError for a file that holds none."""
    text = path.read_text(encoding="ascii", errors="replace")
    try:
        return ssl.PEM_cert_to_DER_cert(text[text.index(_BEGIN) :])
    except ValueError:
        raise unusable(path) from None


def unusable(path: Path) -> ValueError:
    """Return what is raised for a file that holds no certificate, or no private key to it."""
    return ValueError(
        f"{shown(path)} holds no certificate: move it away, and `snyper hub --tls` makes another"
    )


def of_hubs(hubs: Iterable[str]) -> str:
    """Return the certificate as a target that dials `hubs` has it in its settings: this computer's, empty
    where no address asks for TLS. Raises KeyStoreError, ValueError where there is none, or it cannot be read.
    """
    if not any(parse_hub(hub)[2] for hub in hubs):
        return ""
    path = default_path()
    try:
        return b64encode(load(path)).decode()
    except OSError as error:
        raise ValueError(
            f"TLS needs the hub's certificate, and {shown(path)} cannot be read ({error.strerror}): start"
            " `snyper hub --tls` once, and copy its file here where it runs on another computer"
        ) from None
