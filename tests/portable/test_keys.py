"""Keys: proof and seals."""

from binascii import hexlify

from snyper.shared.keys import KEY_BYTES, Key, hmac, seals
from snyper.shared.seal import MAX_SEALS, SEAL_BYTES, Seal
from snyper.shared.socket_protocol import ErrorCode
from tests.portable.support import raises

SECRET = bytes(range(KEY_BYTES))
TEXT = "fleet:" + hexlify(SECRET).decode()
NONCES = (b"n" * 16, b"m" * 16)

# RFC 4231, section 4: key, data, HMAC-SHA-256. The fifth is of a truncated output.
VECTORS = (
    (b"\x0b" * 20, b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
    ),
    (b"\xaa" * 20, b"\xdd" * 50, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
    (bytes(range(1, 26)), b"\xcd" * 50, "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b"),
    (b"\x0c" * 20, b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
    (
        b"\xaa" * 131,
        b"Test Using Larger Than Block-Size Key - Hash Key First",
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
    ),
    (
        b"\xaa" * 131,
        b"This is a test using a larger than block-size key and a larger than block-size data."
        b" The key needs to be hashed before being used by the HMAC algorithm.",
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
    ),
)

# Of `{}` as the first line, from another implementation (Python's hmac and hashlib, by hand).
TO_HUB = b"a846eb6fa9b23747"
FROM_HUB = b"f3e601cc589d7a99"
SECOND_TO_HUB = b"48483925aa8dafef"  # with 258 bytes behind it


def hex_of(digest: bytes) -> str:
    return hexlify(digest).decode()


def pair(
    text: str = TEXT, role: str = "target", name: str = "t1", nonces: "tuple[bytes, ...]" = NONCES
) -> "tuple[Seal, Seal]":
    return seals(Key(text), role, name, nonces[0], nonces[1])


def test_the_published_vectors() -> None:
    for secret, data, expected in VECTORS:
        assert hex_of(hmac(secret, data))[: len(expected)] == expected


def test_both_sides_derive_the_same_seals() -> None:
    (to_hub, _), (at_hub, _) = pair(), pair()
    for line in (b"{}", b"", b"x" * 4_000):
        assert at_hub.open(to_hub.seal(line)) == line


def test_the_format_of_a_seal_stays() -> None:
    to_hub, from_hub = pair()
    assert to_hub.seal(b"{}\n") == TO_HUB + b"00000000{}\n"
    assert from_hub.seal(b"{}\n") == FROM_HUB + b"00000000{}\n"
    assert to_hub.seal(b"{}\n", 258) == SECOND_TO_HUB + b"00000102{}\n"


def test_whatever_differs_gives_other_seals() -> None:
    others = (
        pair(TEXT.replace("fleet", "flees")),
        pair("fleet:" + "f" * 64),
        pair(role="console"),
        pair(name="t2"),
        pair(nonces=(NONCES[1], NONCES[0])),
        pair(nonces=(NONCES[0], b"n" * 16)),
        pair(role="targett", name="1"),
        seals(Key(TEXT), "target", "t1", NONCES[0], NONCES[1], b"certificate"),
    )
    line = pair()[0].seal(b"{}")
    for to_hub, from_hub in others:
        assert to_hub.open(line) is None
        assert from_hub.open(line) is None


def test_nothing_is_taken_but_the_next_line() -> None:
    to_hub, _ = pair()
    lines = [to_hub.seal(b'{"n":%d}' % number) for number in range(3)]
    wrong = [
        b"",
        b"{}",
        lines[0][:SEAL_BYTES],
        lines[0][SEAL_BYTES:],
        lines[0][:-1],
        lines[0] + b"0",
        lines[0].replace(b"0", b"1", 1),
        lines[1],
        lines[2],
        lines[0][:SEAL_BYTES].upper() + lines[0][SEAL_BYTES:],
        lines[0][:SEAL_BYTES] + lines[0][SEAL_BYTES:].upper(),
    ]
    for line in wrong:
        at_hub, _ = pair()
        assert at_hub.open(line) is None, line
        assert at_hub.open(lines[0]) is None  # and nothing after it
    at_hub, _ = pair()
    assert at_hub.open(lines[0]) == b'{"n":0}'
    assert at_hub.open(lines[1]) == b'{"n":1}'
    assert at_hub.open(lines[1]) is None  # a second time


def test_what_comes_back_is_not_taken() -> None:
    to_hub, from_hub = pair()
    assert from_hub.open(to_hub.seal(b"{}")) is None


def test_a_seal_says_how_many_bytes_follow() -> None:
    (to_hub, _), (at_hub, _) = pair(), pair()
    line = to_hub.seal(b"{}", 300)
    assert pair()[0].open(line.replace(b"012c", b"012d")) is None
    assert at_hub.open(line) == b"{}"
    assert at_hub.following == 300
    assert at_hub.open(to_hub.seal(b"x" * 300)) == b"x" * 300
    assert at_hub.following == 0


def test_what_a_seal_says_is_a_number_also_from_who_has_the_key() -> None:
    for text in (b"zzzzzzzz", b"-0000001", b" 0000001", b"0x000001", b"0000000A", b"00000"):
        (to_hub, _), (at_hub, _) = pair(), pair()
        said = text + b"{}"
        assert at_hub.open(to_hub._mac(0, said) + said) is None, text
        assert at_hub.following == 0


def test_a_secret_seals_only_so_much() -> None:
    seal, _ = pair()
    seal._number = MAX_SEALS - 1
    assert len(seal.seal(b"")) == SEAL_BYTES
    raises(ErrorCode.DISCONNECTED, seal.seal, b"")


def test_texts_of_keys() -> None:
    assert Key(TEXT).to_text() == TEXT
    assert Key(TEXT).secret == SECRET
    assert TEXT[6:] not in repr(Key(TEXT))
    for text in (
        "",
        "fleet",
        "fleet:",
        TEXT + "0",
        TEXT[:-1],
        TEXT[:-1] + "g",
        TEXT.replace("00", "0A", 1).replace("0a", "0A"),
        TEXT[5:],
        "a b" + TEXT[5:],
        "é" + TEXT[5:],
        "n" * 33 + TEXT[5:],
        " " + TEXT,
        TEXT + "\n",
    ):
        assert TEXT[6:20] not in why_no_key(text)


def why_no_key(text: str) -> str:
    try:
        Key(text)
    except ValueError as error:
        return str(error)
    raise AssertionError("%r is no key" % text)
