"""`python3 -m snyper.device receive`: files and data that others push, into a folder."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from snyper.device.disk import shown
from snyper.device.inbox.handlers import make_bus
from snyper.device.inbox.listing import parts_in
from snyper.device.loading import LoadingError
from snyper.device.logs import log_to_stderr
from snyper.device.outcomes import EXIT_FAILED
from snyper.device.serving.limits import DEVICE_LIMITS, complete_limits
from snyper.device.serving.receiver import Receiver
from snyper.device.text import one_line

_MAX_KEY_BYTES = 4_096


def receive(options: argparse.Namespace) -> int:
    """Receive until Ctrl-C; return the exit status. Raises ValueError, OSError."""
    into = Path(options.into)
    if options.list:
        return _list(into, options.json)
    log_to_stderr(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each line to a peer that has just gone
    handlers = None if options.handlers is None else Path(options.handlers)
    limits = complete_limits(DEVICE_LIMITS, options.limit)

    def show(event: dict[str, Any]) -> None:
        text = json.dumps(event if options.json else event.get("path", event.get("data")), ensure_ascii=True)
        print(text if options.json or "data" in event else one_line(event["path"]), flush=True)

    try:
        bus = make_bus(handlers, limits["handler_s"], show if handlers is None or options.json else None)
    except LoadingError as error:
        print(f"snyper.device: {one_line(str(error))}", file=sys.stderr)
        return EXIT_FAILED
    receiver = Receiver(
        into,
        options.listen,
        key=None if options.key_file is None else _key_in(Path(options.key_file)),
        is_open=options.open,
        certificate=options.certificate,
        certificate_key=options.certificate_key,
        accept=options.accept,
        limits=options.limit,
        bus=bus,
    )

    def say(receiver: Receiver) -> None:
        folder = shown(receiver.inbox.folder)
        if options.json:
            print(json.dumps({"urls": receiver.urls, "into": folder}), flush=True)
        _say(f"{', '.join(receiver.urls)}, into {folder}; Ctrl-C stops it")
        parts = receiver.inbox.counts()["parts"]
        if parts:
            _say(f"{parts} only partly here, which --list shows")

    receiver.run(say)
    _say("stopped")
    return 0


def _list(into: Path, as_json: bool) -> int:
    parts = parts_in(into)
    if as_json:
        print(json.dumps([part._asdict() for part in parts]))
        return 0
    for part in parts:
        length = "?" if part.length is None else f"{part.length:,}"
        line = f"{part.filename}: {part.received:,} of {length} bytes, silent for {part.silent_s:,.0f} s"
        print(one_line(line))
    _say(f"{len(parts)} partly here")
    return 0


def _key_in(path: Path) -> str:
    """Return the line that a file is. Raises ValueError, OSError."""
    with path.open("rb") as file:
        text = file.read(_MAX_KEY_BYTES).decode("utf-8-sig").rstrip("\r\n")
    if not text or "\n" in text:
        raise ValueError(f"--key-file: {shown(path)} holds no key on one line: name another")
    return text


def _say(text: str) -> None:
    print(f"receive: {one_line(text)}", file=sys.stderr)
