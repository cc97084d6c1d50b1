"""Keys against a second implementation, which shares nothing with the first but the documented format."""

import hashlib
import hmac

from hypothesis import given, strategies as st

from snyper.shared.keys import Key, hmac as own_hmac, seals

BYTES = st.binary(max_size=300)


def derived(key: Key, role: str, name: str, nonces: tuple[bytes, bytes], binding: bytes) -> list[bytes]:
    """Derive both secrets from the text of docs/protocol.md."""
    text = b""
    for field in (b"snyper 1", key.name.encode(), role.encode(), name.encode(), *nonces, binding):
        text += str(len(field)).encode() + b":" + field
    session = hmac.digest(key.secret, text, hashlib.sha256)
    return [hmac.digest(session, b"%s the hub" % way, hashlib.sha256) for way in (b"to", b"from")]


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
