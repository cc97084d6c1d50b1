"""Bodies of cameras for the tests."""

import struct
import zlib

NAMES = {
    "camera_id": "camera_001",
    "checkpoint_id": "checkpoint_001",
    "timestamp": "2024-12-19T10:00:00Z",
}
# A JPEG's beginning, and a frame of 64 x 48 pixels.
_JPEG_HEAD = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000 ffc0000b08003000400101 1100".replace(" ", "")
)


def jpeg(content: str, length: int = 2_000) -> bytes:
    """Return what has a JPEG's head, and then nothing that a decoder takes: different for each `content`."""
    return _JPEG_HEAD + content.encode().ljust(length, b"\0")


def png(width: int = 1, height: int = 1, shade: int = 0) -> bytes:
    """Return a grey PNG that every decoder takes."""
    rows = (b"\0" + bytes([shade]) * width) * height

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
