"""A camera that tells when something moves: a webcam, or a folder of pictures."""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy

from snyper import Camera
from snyper.device import TransferError

SUFFIXES = {".jpg", ".jpeg", ".png"}
LEAST_AREA = 0.002  # of a picture that has to change
JPEG_QUALITY = 85


class Motion:
    """Finds what moves, against what has been seen before."""

    def __init__(self) -> None:
        self._background = cv2.createBackgroundSubtractorMOG2(history=100, detectShadows=False)
        self._seen = 0

    def boxes(self, frame: numpy.ndarray) -> list[tuple[int, int, int, int]]:
        """Return the boxes of what moves, each x1, y1, x2, y2; none in the first pictures."""
        mask = self._background.apply(cv2.GaussianBlur(frame, (7, 7), 0))
        self._seen += 1
        if self._seen < 5:
            return []
        mask = cv2.dilate(mask, numpy.ones((3, 3), numpy.uint8), iterations=3)
        found, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        least = LEAST_AREA * frame.shape[0] * frame.shape[1]
        sides = [cv2.boundingRect(one) for one in found if cv2.contourArea(one) >= least]
        return [(x, y, x + width, y + height) for x, y, width, height in sides]


def frames_of(source: str) -> Iterator[numpy.ndarray]:
    """Yield the pictures of a folder, by name, or those of a webcam, by number, for ever.

    Raises OSError for a source that gives none.
    """
    if Path(source).is_dir():
        paths = [path for path in sorted(Path(source).iterdir()) if path.suffix.lower() in SUFFIXES]
        if not paths:
            raise OSError(f"there is no picture in {source}: it takes {', '.join(sorted(SUFFIXES))}")
        for path in paths:
            frame = cv2.imread(str(path))
            if frame is None:
                print(f"{path} is no picture, and is skipped", file=sys.stderr)
                continue
            yield frame
        return
    webcam = cv2.VideoCapture(int(source) if source.isdecimal() else source)
    try:
        while True:
            is_there, frame = webcam.read()
            if not is_there:
                raise OSError(f"there is no picture from {source}")
            yield frame
    finally:
        webcam.release()


async def watch(camera: Camera, source: str, least_s: float) -> int:
    """Tell of each motion, and return how many there were; after one, wait `least_s`."""
    motion, told, frames = Motion(), 0, frames_of(source)
    while True:
        frame = await asyncio.to_thread(next, frames, None)
        if frame is None:
            return told
        boxes = await asyncio.to_thread(motion.boxes, frame)
        if not boxes:
            continue
        _, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        moving = [{"bbox": list(box), "class": "motion"} for box in boxes]
        await camera.detection(original_image=jpeg.tobytes(), vehicle_detections=moving)
        told += 1
        await asyncio.sleep(least_s)


async def run(arguments: argparse.Namespace) -> None:
    """Be the camera until its source ends, or Ctrl-C."""
    about = (arguments.camera, arguments.checkpoint)
    async with Camera(*about, hub=arguments.hub, outbox=arguments.outbox) as camera:
        await camera.health("camera", "healthy", "Camera working normally")
        told = await watch(camera, arguments.source, arguments.pause)
        await camera.flush()
    print(f"{told} told")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="a folder of pictures, a webcam's number such as 0, or a video's URL")
    parser.add_argument("--hub", default="127.0.0.1:8081", metavar="HOST:PORT")
    parser.add_argument("--camera", default="lane", metavar="NAME")
    parser.add_argument("--checkpoint", default="gate", metavar="NAME")
    parser.add_argument("--outbox", default="lane.outbox", metavar="FILE")
    parser.add_argument("--pause", default=1.0, type=float, metavar="SECONDS", help="after each that is told")
    try:
        asyncio.run(run(parser.parse_args()))
    except KeyboardInterrupt:
        print("stopped")
    except (OSError, ValueError, TransferError) as error:
        sys.exit(f"motion.py: {error}")
