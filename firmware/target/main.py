"""What a target runs at power-up."""

import asyncio

from firmware.target.config import DEFAULTS
from firmware.target.session import Session
from shared.config import load

if __name__ == "__main__":
    asyncio.run(Session(load("config.json", DEFAULTS)).run())
