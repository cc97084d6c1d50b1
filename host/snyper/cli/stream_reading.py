"""One reading of a stream on the command line: its figures, and the file that its samples go into."""

import time
from pathlib import Path
from typing import Any

from snyper.client.labels import plural
from snyper.streams import Block, StreamSpec
from snyper.streams.subscriber import StreamReader
from snyper.system.files import shown

_HEAD_BYTES = 256  # of the .npy file, with room for any number of samples


class Reading:
    """The figures of the stream `name`, now and in all. Its samples go into `path`, a new file, where one is
    given; a killed process leaves it whole. Raises OSError where that cannot be made, or is there.
    """

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self._path = path
        # Without a buffer: what a full disk did not take would be tried again before the head.
        self._file = None if path is None else path.open("x+b", buffering=0)
        self._written_bytes = 0  # of samples
        self._spec: StreamSpec | None = None
        self._reader: StreamReader | None = None
        self._last: Block | None = None
        self.evicted = 0  # of the time that was asked for
        self._samples = self._lost = self._bytes = 0
        self._second = (0, 0, 0)  # the same, when the last second began
        self._second_s = time.monotonic()
        self._epochs: list[str] = []
        self._least: Any = None  # of all values in the second
        self._greatest: Any = None

    def take(self, reader: StreamReader, block: Block) -> None:
        """Count a block, and write it. Raises ValueError where its samples are not like those before, OSError
        that names the file where the disk is full.
        """
        self._reader, self._last = reader, block
        if self._spec is None:
            self._spec, self.evicted = reader.spec, reader.evicted
        if block.epoch not in self._epochs[-1:]:
            self._epochs.append(block.epoch)
        if self._file is not None:
            self._write(reader, block)
        self._samples += len(block.samples)
        self._lost += block.lost
        self._bytes += block.samples.nbytes
        if block.samples.dtype.kind in "iuf" and block.samples.size:
            least, greatest = block.samples.min(), block.samples.max()
            self._least = least if self._least is None else min(least, self._least)
            self._greatest = greatest if self._greatest is None else max(greatest, self._greatest)

    def _write(self, reader: StreamReader, block: Block) -> None:
        assert self._file is not None
        assert self._spec is not None
        spec = reader.spec
        if spec is None or (spec.dtype, spec.shape) != (self._spec.dtype, self._spec.shape):
            raise ValueError(f"{self.name} has other samples now: what came before is in {self._path}")
        try:
            if not self._bytes:
                self._write_head(spec)
            self._file.seek(_HEAD_BYTES + self._written_bytes)
            rest = memoryview(block.samples.tobytes())
            while rest:
                count = self._file.write(rest)
                self._written_bytes += count
                rest = rest[count:]
        except OSError as error:
            if self._written_bytes:
                self._write_head(spec)
            raise OSError(error.errno, error.strerror, str(self._path)) from None
        self._write_head(spec)  # after its samples: it never promises what is not there

    def _write_head(self, spec: StreamSpec) -> None:
        assert self._file is not None
        self._file.seek(0)
        self._file.write(_npy_head(spec, self._written()))

    def _written(self) -> int:
        return self._written_bytes // self._spec.sample_bytes if self._spec is not None else 0

    def close(self) -> None:
        """Close the file; one that no sample came for is removed."""
        if self._file is None:
            return
        with self._file as file:
            if self._spec is not None:
                file.truncate(_HEAD_BYTES + self._written() * self._spec.sample_bytes)
        self._file = None
        if self._path is not None and not self._written():
            self._path.unlink(missing_ok=True)

    def second(self) -> dict[str, Any]:
        """Return the figures of the time since this was called last."""
        now_s = time.monotonic()
        took_s, self._second_s = now_s - self._second_s, now_s
        before, self._second = self._second, (self._samples, self._lost, self._bytes)
        samples, lost, size = (new - old for new, old in zip(self._second, before, strict=True))
        found: dict[str, Any] = {
            "samples": samples,
            "samples_per_s": round(samples / took_s, 1),
            "bytes_per_s": round(size / took_s),
            "lost": lost,
            "is_gone": self._reader is not None and self._reader.is_gone,
        }
        if samples and self._last is not None:
            found |= {"lag_us": self._last.lag_us, "uncertainty_us": self._last.uncertainty_us}
        if samples and self._least is not None:
            found |= {"min": self._least.item(), "max": self._greatest.item()}
        self._least = self._greatest = None
        return found

    def line(self, second: dict[str, Any]) -> str:
        """Return a second as a line for people."""
        if second["is_gone"]:
            return f"{self.name}: away"
        parts = [f"{second['samples_per_s']:,.0f} samples/s", f"{second['bytes_per_s'] / 1000:,.1f} kB/s"]
        if "min" in second:
            parts.append(f"{_short(second['min'])} … {_short(second['max'])}")
        if "lag_us" in second:
            lag_ms, unsure_ms = second["lag_us"] / 1000, second["uncertainty_us"] / 1000
            parts.append(f"lag {lag_ms:.1f} ms ± {unsure_ms:.1f}")
        parts.append(f"{second['lost']:,} lost" if second["lost"] else "none lost")
        return f"{self.name}: {', '.join(parts)}"

    def sum(self) -> dict[str, Any]:
        """Return the figures of all of it."""
        return {
            "stream": self.name,
            "samples": self._samples,
            "lost": self._lost,
            "evicted": self.evicted,
            "bytes": self._bytes,
            "epochs": len(self._epochs),
            "file": None if self._path is None else str(self._path),
            "written": self._written(),
        }

    def ending(self) -> str:
        """Return the sum of it as a line for people."""
        text = f"{plural(self._samples, 'sample')} came, {self._lost:,} were lost"
        if len(self._epochs) > 1:
            text += f"; the source began anew {plural(len(self._epochs) - 1, 'time')}"
        if self._path is None:
            return text
        if not self._written():
            return f"{text}; {shown(self._path)} is not written"
        which = "they" if self._written() == self._samples else f"{self._written():,} of them"
        return f"{text}; {which} are in {shown(self._path)}"


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def _npy_head(spec: StreamSpec, count: int) -> bytes:
    """Return the head of a .npy file (version 1.0), padded to _HEAD_BYTES."""
    about = {"descr": spec.dtype, "fortran_order": False, "shape": (count, *spec.shape)}
    text = repr(about).encode()
    size = _HEAD_BYTES - 10
    return b"\x93NUMPY\x01\x00" + size.to_bytes(2, "little") + text.ljust(size - 1) + b"\n"
