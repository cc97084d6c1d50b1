"""Pictures of black and white points as PNG files.

    python -m tools.png BOARD PICTURE [--scale N]

writes what the screen of the virtual board in the directory BOARD shows now.
"""

import argparse
import json
import struct
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

SCREEN_WIDTH = 128

Rows = Sequence[Sequence[int]]  # of points, each 0 (dark) or 1


def rows_of(text: str, width: int = SCREEN_WIDTH) -> list[list[int]]:
    """Return the rows of a picture whose points are in hexadecimal, row by row, the first the highest bit.
    Raises ValueError.
    """
    points = [byte >> bit & 1 for byte in bytes.fromhex(text) for bit in range(7, -1, -1)]
    return [points[at : at + width] for at in range(0, len(points), width)]


def png(rows: Rows, scale: int = 1) -> bytes:
    """Encode a PNG file, each point `scale` points wide and high (W3C, PNG, third edition). Raises
    ValueError for a picture without points.
    """
    if scale < 1 or not rows or not rows[0]:
        raise ValueError("a picture has points")
    width, height = len(rows[0]) * scale, len(rows) * scale
    lines = b""
    for row in rows:
        bits = "".join("01"[point] * scale for point in row)
        bits += "0" * (-len(bits) % 8)
        lines += (b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")) * scale
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)  # 1 bit for a point, in grey
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines, 9)) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def main() -> None:
    parser = argparse.ArgumentParser(description="The screen of a virtual hub board as a PNG file.")
    parser.add_argument("board", type=Path, help="its directory")
    parser.add_argument("picture", type=Path, help="the file to write")
    parser.add_argument("--scale", type=int, default=4, help="how many times as large (4)")
    arguments = parser.parse_args()
    try:
        shown = json.loads((arguments.board / "screen.json").read_text())
        arguments.picture.write_bytes(png(rows_of(shown["picture"]), arguments.scale))
    except (OSError, ValueError) as error:
        sys.exit(f"no picture: {error}; has the board a screen, and was it ever written to?")


if __name__ == "__main__":
    main()
