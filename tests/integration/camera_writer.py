"""Sends detections to the cameras of a folder until it is killed, and prints the id of each once it is kept.

python -m tests.integration.camera_writer FOLDER [DATABASE]
"""

import asyncio
import sys
from pathlib import Path

from snyper.cameras.intake import detection_of
from snyper.cameras.service import opened
from tests.integration.camera_bodies import NAMES, jpeg

_SENDERS = 8


def body(name: str) -> dict[str, object]:
    """Return a detection with a picture that no other has."""
    return {**NAMES, "detection_id": name, "ocr_results": [f"AB {name}"], "annotated_image": jpeg(name)}


async def main() -> None:
    """Send for ever."""
    database = sys.argv[2] if len(sys.argv) > 2 else None
    async with opened(Path(sys.argv[1]), database) as cameras:

        async def send(sender: int) -> None:
            number = 0
            while True:
                number += 1
                answer = await cameras.detect(detection_of(body(f"{sender}-{number}")))
                print(answer.id, flush=True)

        await asyncio.gather(*(send(sender) for sender in range(_SENDERS)))


if __name__ == "__main__":
    asyncio.run(main())
