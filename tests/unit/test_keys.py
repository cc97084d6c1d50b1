"""Keys against a second implementation, which shares nothing with the first but the documented format."""

import hashlib
import hmac
import re
from pathlib import Path

from hypothesis import given, strategies as st

from snyper.shared.keys import Key, hmac as own_hmac, seals
from snyper.shared.seal import SEAL_BYTES

PROTOCOL = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"

BYTES = st.binary(max_size=300)


def _fields(key: Key, role: str, name: str, nonces: tuple[bytes, bytes], binding: bytes) -> bytes:
    text = b""
    for field in (b"snyper 1", key.name.encode(), role.encode(), name.encode(), *nonces, binding):
        text += str(len(field)).encode() + b":" + field
    return text


def derived(key: Key, role: str, name: str, nonces: tuple[bytes, bytes], binding: bytes) -> list[bytes]:
    """Derive both secrets from the text of docs/protocol.md."""
    session = hmac.digest(key.secret, _fields(key, role, name, nonces, binding), hashlib.sha256)
    return [hmac.digest(session, b"%s the hub" % way, hashlib.sha256) for way in (b"to", b"from")]


def test_the_example_of_the_documentation() -> None:
    [text] = re.findall(
        r"^```seals\n(.*?)^```$", PROTOCOL.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    said = {line[:11].rstrip(): line[11:] for line in text.splitlines()}
    key, nonces = Key(said["key"]), (bytes.fromhex(said["nonce"]), bytes.fromhex(said["hub's"]))
    to_hub, from_hub = derived(key, said["role"], said["name"], nonces, b"")
    assert [said["to_hub"], said["from_hub"]] == [to_hub.hex(), from_hub.hex()]
    session = hmac.digest(key.secret, _fields(key, said["role"], said["name"], nonces, b""), hashlib.sha256)
    assert said["session"] == session.hex()
    seal, _ = seals(key, said["role"], said["name"], *nonces)
    for number in range(2):
        sealed = said[f"line {number}"].encode() + b"\n"
        assert seal.seal(sealed[SEAL_BYTES:]) == sealed


@given(BYTES, BYTES)
def test_hmac(secret: bytes, data: bytes) -> None:
    assert own_hmac(secret, data) == hmac.digest(secret, data, hashlib.sha256)


@given(
    st.binary(min_size=32, max_size=32),
    st.text(max_size=20),
    st.text(max_size=20),
    st.tuples(BYTES, BYTES),
    BYTES,
    st.lists(BYTES, max_size=5),
)
def test_seals(
    secret: bytes, role: str, name: str, nonces: tuple[bytes, bytes], binding: bytes, lines: list[bytes]
) -> None:
    key = Key(f"k:{secret.hex()}")
    for seal, expected in zip(
        seals(key, role, name, *nonces, binding), derived(key, role, name, nonces, binding), strict=True
    ):
        for number, line in enumerate(lines):
            said = f"{len(line) % 7:08x}".encode() + line
            mac = hashlib.sha256(expected + number.to_bytes(8, "big") + said).hexdigest()[:16]
            assert seal.seal(line, len(line) % 7) == mac.encode() + said
