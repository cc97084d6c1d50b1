"""What a laptop does for small devices: five functions, each in a process of its own.

    snyper serve services.py --listen 127.0.0.1:8000

They are plain functions: import them and call them, as a test does.
"""

import csv
import hashlib
import math
import warnings
import wave
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from snyper.services import InvalidInput, data_service, file_service, image_service, progress

# --- files


@file_service("/api/process/file", idempotent=True)
def process(path: Path, options: str) -> dict[str, Any] | Path:
    """Sum up a CSV or a WAV file; of any other, give its size and SHA-256.

    With the options "normalise" a WAV of 16 bits comes back as loud as it can be.
    """
    with path.open("rb") as file:
        begin = file.read(12)
    if begin[:4] == b"RIFF" and begin[8:] == b"WAVE":
        return _louder(path) if options == "normalise" else _sum_up_wav(path)
    if path.suffix.lower() == ".csv":
        return _sum_up_csv(path)
    with path.open("rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _sum_up_csv(path: Path) -> dict[str, Any]:
    """Return count, least, mean and greatest of the numbers in each column, without all of them in memory."""
    columns: dict[str, dict[str, float]] = {}
    rows = 0
    size = path.stat().st_size
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        try:
            for row in csv.DictReader(_telling_progress(file, size)):
                rows += 1
                for name, text in row.items():
                    if name is not None and isinstance(text, str):
                        _count_number(columns, name, text)
        except csv.Error as error:
            raise InvalidInput(f"this is no CSV: {error} in line {rows + 2}") from None
    return {"rows": rows, "columns": {name: _rounded(column) for name, column in columns.items()}}


def _telling_progress(file: Any, size: int) -> Any:
    read = 0
    for line in file:
        read += len(line)
        progress(read / size)
        yield line


def _count_number(columns: dict[str, dict[str, float]], name: str, text: str) -> None:
    try:
        number = float(text)
    except ValueError:
        return
    if not math.isfinite(number):
        return
    column = columns.setdefault(name, {"count": 0, "min": number, "mean": 0.0, "max": number})
    column["count"] += 1
    column["min"] = min(column["min"], number)
    column["max"] = max(column["max"], number)
    column["mean"] += (number - column["mean"]) / column["count"]


def _rounded(column: dict[str, float]) -> dict[str, float]:
    return {name: float(f"{value:.6g}") if name == "mean" else value for name, value in column.items()}


def _sum_up_wav(path: Path) -> dict[str, Any]:
    parameters, samples = _read_wav(path)
    level = samples.astype(float) / 32768
    return {
        "seconds": round(parameters.nframes / parameters.framerate, 3),
        "channels": parameters.nchannels,
        "rate": parameters.framerate,
        "peak": round(float(np.abs(level).max(initial=0)), 4),
        "rms": round(float(np.sqrt(np.mean(level**2))) if level.size else 0.0, 4),
    }


def _louder(path: Path) -> Path:
    parameters, samples = _read_wav(path)
    peak = int(np.abs(samples.astype(int)).max(initial=1))
    louder = path.with_name("louder.wav")
    with wave.open(str(louder), "wb") as file:
        file.setparams(parameters)
        file.writeframes((samples * (32767 / peak)).astype("<i2").tobytes())
    return louder


def _read_wav(path: Path) -> tuple[Any, Any]:
    try:
        with wave.open(str(path), "rb") as file:
            parameters, frames = file.getparams(), file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise InvalidInput(f"this WAV cannot be read: {error}") from None
    if parameters.sampwidth != 2 or not parameters.framerate:
        raise InvalidInput(f"a WAV has 16 bits, not {8 * parameters.sampwidth}, and a rate")
    return parameters, np.frombuffer(frames, "<i2")


# --- pictures

# Unpacked, three bytes each: what a photo has, and not what a picture of a few kB can claim to have. Pillow
# warns of more, and refuses twice as many by itself.
Image.MAX_IMAGE_PIXELS = 50_000_000
MAX_SIDE = 65_535  # as a JPEG has: each row takes memory of its own, also one of a single pixel
warnings.simplefilter("error", Image.DecompressionBombWarning)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")  # others run programs, or have decoders that few have tried


@image_service("/api/process/image", field="image", idempotent=True)
def resize(path: Path, options: str = "default") -> Path:
    """Return the picture as a JPEG that fits into 640 × 640, or into what the options say: "320x240"."""
    width, height = _size_of(options)
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if max(picture.size) > MAX_SIDE:
                raise InvalidInput(f"a picture has at most {MAX_SIDE:,} pixels to a side, not {picture.size}")
            picture.draft("RGB", (width, height))  # a JPEG is decoded only as finely as is needed
            small = ImageOps.exif_transpose(picture.convert("RGB"))
            small.thumbnail((width, height))
    except InvalidInput:
        raise
    except UnidentifiedImageError:
        raise InvalidInput(f"this is no picture: those are {', '.join(FORMATS)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidInput(f"a picture has at most {Image.MAX_IMAGE_PIXELS:,} pixels: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:  # which Pillow raises for what is cut off or damaged
        raise InvalidInput(f"the picture is damaged or cut off: {error}") from None
    resized = path.with_name("resized.jpg")
    small.save(resized, "JPEG", quality=85)
    return resized


def _size_of(options: str) -> tuple[int, int]:
    if options in ("default", ""):
        return 640, 640
    width, _, height = options.partition("x")
    if not (width.isdecimal() and height.isdecimal() and 1 <= int(width[:6]) <= 4096 >= int(height[:6]) >= 1):
        raise InvalidInput(f"options are such as 320x240, up to 4096x4096, not {options[:40]!r}")
    return int(width), int(height)


# --- data


@data_service("/api/process/data", idempotent=True)
def process_data(data: Any, options: dict[str, Any]) -> dict[str, float]:
    """Return the dew point in °C and the water in a m³ of air in g, of a temperature and a humidity in %.

    The options may say to how many `digits`.
    """
    wanted = InvalidInput(
        'data are such as {"temperature": 25.3, "humidity": 60.2}: °C from -45 to 60, % above 0'
    )
    if not isinstance(data, dict):
        raise wanted
    celsius, humidity = _number(data.get("temperature")), _number(data.get("humidity"))
    if not (-45 <= celsius <= 60 and 0 < humidity <= 100):
        raise wanted
    digits = options.get("digits", 1)
    if type(digits) is not int or not 0 <= digits <= 6:
        raise InvalidInput(f"`digits` are from 0 to 6, not {digits!r}")
    # Magnus's formula with Sonntag's constants (1990), for that range.
    gamma = math.log(humidity / 100) + 17.62 * celsius / (243.12 + celsius)
    pressure_pa = 611.2 * math.exp(gamma)
    return {
        "dew_point": round(243.12 * gamma / (17.62 - gamma), digits),
        "water": round(1000 * pressure_pa / (461.5 * (celsius + 273.15)), digits),
    }


def _number(value: object) -> float:
    """Return a number of JSON's as a float; NaN for all else, and for what is too large for one."""
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > 1e300:
        return math.nan
    return float(value)


@data_service("/api/analyze/sensors", takes="readings", gives="anomalies", idempotent=True)
def analyze(readings: Any) -> Any:
    """Return the readings that are far from the others, each with its index and how far.

    A list of numbers, in which null is a gap, or such lists by the names of their sensors. Far is a modified
    z-score above 3.5 (Iglewicz and Hoaglin, 1993): by median and median absolute deviation, which a few wild
    readings do not move.
    """
    if isinstance(readings, dict):
        return {name: _anomalies(one) for name, one in readings.items()}
    return _anomalies(readings)


def _anomalies(readings: object) -> list[dict[str, float]]:
    if not isinstance(readings, list) or any(
        one is not None and math.isnan(_number(one)) for one in readings
    ):
        raise InvalidInput("readings are a list of numbers, with null for a gap, or such lists by name")
    values = np.array([math.nan if one is None else one for one in readings], dtype=float)
    if np.isnan(values).all():
        return []
    distances = values - np.nanmedian(values)
    spread = np.nanmedian(np.abs(distances)) / 0.6745
    if spread == 0:  # more than half are the same: by the mean instead
        spread = np.nanmean(np.abs(distances)) / 0.7979
    if spread == 0:
        return []
    scores = distances / spread
    far = np.flatnonzero(np.abs(scores) > 3.5)
    return [
        {"index": int(at), "value": float(values[at]), "score": round(float(scores[at]), 2)} for at in far
    ]


# --- a model

# Trained whenever a worker starts, in 15 ms. A larger one is trained once, and loaded here from its file.
_IRIS = load_iris()
_MODEL = make_pipeline(StandardScaler(), LogisticRegression()).fit(_IRIS.data, _IRIS.target)


@data_service("/api/infer", takes="features", gives="prediction", idempotent=True)
def infer(features: Any) -> Any:
    """Return which iris it is, and how sure the model is of it.

    From length and width of a sepal and a petal in cm: [5.1, 3.5, 1.4, 0.2], or a list of such.
    """
    is_one = isinstance(features, list) and not any(isinstance(one, list) for one in features)
    samples = [features] if is_one else features
    if not isinstance(samples, list) or not samples or not all(_is_sample(one) for one in samples):
        raise InvalidInput("features are 4 numbers, or a list of such: [5.1, 3.5, 1.4, 0.2]")
    predictions = [
        {"name": str(_IRIS.target_names[shares.argmax()]), "share": round(float(shares.max()), 3)}
        for shares in _MODEL.predict_proba(samples)
    ]
    return predictions[0] if is_one else predictions


def _is_sample(sample: object) -> bool:
    return isinstance(sample, list) and len(sample) == 4 and all(math.isfinite(_number(x)) for x in sample)
