"""A simulated camera: a road with a car on it, whose plate it reads now and then."""

import asyncio
import io
import random
import string
from collections.abc import Callable
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from snyper.cameras.camera import Camera

WIDTH, HEIGHT = 640, 360
_CAR = (180, 90)  # in pixels
_PLATE = (84, 24)
_COLOURS = ((170, 40, 40), (40, 70, 160), (200, 200, 205), (30, 30, 34), (190, 150, 40))
_AWAY_EVERY_S = 20.0  # with outages, on average
_AWAY_S = (3.0, 8.0)


class Road:
    """A road, on which one car after the other goes by."""

    def __init__(self, seed: object) -> None:
        self._random = random.Random(str(seed))
        self._next_car()

    def step(self) -> None:
        """Let the car go on, and the next one come once it is out of sight."""
        self._x += self._speed
        if self._x > WIDTH:
            self._next_car()

    def picture(self) -> bytes:
        """Draw what is to be seen, as JPEG."""
        image = Image.new("RGB", (WIDTH, HEIGHT), (112, 140, 120))
        draw = ImageDraw.Draw(image)
        draw.rectangle((0, 180, WIDTH, 320), fill=(70, 70, 74))
        for x in range(0, WIDTH, 80):
            draw.rectangle((x, 246, x + 40, 252), fill=(220, 220, 200))
        left, top, right, bottom = self._box()
        draw.rounded_rectangle((left + 30, top - 34, right - 40, top + 10), 14, fill=(20, 30, 40))
        draw.rounded_rectangle((left, top, right, bottom), 16, fill=self._colour)
        for x in (left + 36, right - 36):
            draw.ellipse((x - 18, bottom - 18, x + 18, bottom + 18), fill=(15, 15, 15))
        self._draw_plate(draw, *self._plate_box()[:2])
        return _jpeg(image)

    def plate_picture(self) -> bytes:
        """Draw the plate alone, as JPEG."""
        image = Image.new("RGB", _PLATE)
        self._draw_plate(ImageDraw.Draw(image), 0, 0)
        return _jpeg(image)

    def detection(self) -> dict[str, Any]:
        """Return what a camera that reads plates says of it, for `Camera.detection`."""
        sure = round(self._random.uniform(0.8, 0.99), 2)
        return {
            "ocr_results": [self.plate],
            "vehicles_count": 1,
            "plates_count": 1,
            "vehicle_detections": [{"bbox": list(self._box()), "confidence": sure, "class": "car"}],
            "plate_detections": [{"bbox": list(self._plate_box()), "confidence": sure, "text": self.plate}],
            "processing_time_ms": self._random.randint(60, 180),
            "annotated_image": self.picture(),
            "cropped_plates": [self.plate_picture()],
        }

    def _next_car(self) -> None:
        choose = self._random
        self.plate = "".join(choose.choices(string.ascii_uppercase, k=3) + choose.choices(string.digits, k=4))
        self._colour = choose.choice(_COLOURS)
        self._x, self._y = -_CAR[0] // 2, choose.randint(190, 215)
        self._speed = choose.randint(40, 120)

    def _box(self) -> tuple[int, int, int, int]:
        return self._x, self._y, self._x + _CAR[0], self._y + _CAR[1]

    def _plate_box(self) -> tuple[int, int, int, int]:
        left, top = self._x + (_CAR[0] - _PLATE[0]) // 2, self._y + _CAR[1] - _PLATE[1] - 12
        return left, top, left + _PLATE[0], top + _PLATE[1]

    def _draw_plate(self, draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
        draw.rectangle((x, y, x + _PLATE[0], y + _PLATE[1]), fill="white", outline="black")
        font = ImageFont.load_default(16)
        draw.text((x + _PLATE[0] / 2, y + _PLATE[1] / 2), self.plate, fill="black", font=font, anchor="mm")


async def run_camera(
    make: Callable[[], Camera],
    interval_s: float,
    seed: object,
    count: int | None = None,
    has_outages: bool = False,
    on_detection: Callable[[str, str], object] = lambda detection_id, plate: None,
) -> None:
    """Be the camera that `make` makes: detect every `interval_s`, `count` times in all and then until all is
    told, or for ever. With outages it is switched off now and then for some seconds. `on_detection` is called
    with the id and the plate of each. Raises OutboxLocked, OutboxFull, OSError.
    """
    road, chance = Road(seed), random.Random(f"{seed} outages")
    done = 0
    while True:
        async with make() as camera:
            await camera.health("camera", "healthy", "Camera working normally")
            while count is None or done < count:
                road.step()
                adding = asyncio.create_task(camera.detection(**road.detection()))
                try:
                    await asyncio.shield(adding)
                finally:  # cancelled, it is on the disk all the same
                    on_detection(await adding, road.plate)
                done += 1
                if done % 30 == 0:
                    await camera.health("camera", "healthy", "Camera working normally")
                await asyncio.sleep(interval_s * chance.uniform(0.8, 1.2))
                if has_outages and chance.random() < interval_s / _AWAY_EVERY_S:
                    break
            else:
                await camera.flush()
                return
        await asyncio.sleep(chance.uniform(*_AWAY_S))


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()
