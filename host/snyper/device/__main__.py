"""`python3 -m snyper.device`: send, push, receive and outbox, on a device that has nothing but Python.

Exit status: 0 all went well, 1 refused or failed, 2 wrong usage, 3 nobody answers, 130 cut short by Ctrl-C.
"""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any, Callable, List, Optional

from snyper.device.adapters import RemoteFileAdapter
from snyper.device.connection import TIMEOUT_S
from snyper.device.delivery import AWAY, DELIVERING, Delivery
from snyper.device.errors import TransferError
from snyper.device.jobs import standing
from snyper.device.outbox import Item, Outbox, as_json
from snyper.device.outcomes import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    file_or_json,
    message_of,
    status_of,
)
from snyper.device.push import ClientPush
from snyper.device.retrying import TRIES
from snyper.device.text import one_line


def main(words: Optional[List[str]] = None) -> int:
    """Run the command that the words are, and return its exit status."""
    options = _parser().parse_args(words)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        _say("stopped")
        return EXIT_INTERRUPTED
    except (TransferError, OSError) as error:
        _say(message_of(error))
        return status_of(error)
    except ValueError as error:
        _say(str(error))
        return EXIT_USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m snyper.device",
        description="Send work to a server, push and receive files, keep what waits.",
        epilog="Exit status: 0 all well, 1 refused or failed, 2 wrong usage, 3 nobody answers.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    send = commands.add_parser("send", help="have a file or JSON processed, and show what comes of it")
    send.add_argument("what", metavar="FILE|JSON")
    _add_server(send, "--to", "SERVICE_SERVER_URL")
    send.add_argument("--path", default="/api/process/file", help="where a file goes (%(default)s)")
    send.add_argument("--field", default="file", help="the form field that it goes in (%(default)s)")
    send.add_argument("--data-path", default="/api/process/data", help="where JSON goes (%(default)s)")
    send.add_argument("--options", metavar="TEXT", help="what the service is told beside")
    send.add_argument("--save-to", metavar="FOLDER", default=".", help="where result files go (here)")
    send.add_argument(
        "--long", action="store_true", help="ask how it stands until it is done; Ctrl-C ends it"
    )
    send.set_defaults(run=_send)

    push = commands.add_parser("push", help="push a file or JSON to who receives it")
    push.add_argument("what", metavar="FILE|JSON")
    _add_server(push, "--to", "CLIENT_SERVER_URL")
    push.set_defaults(run=_push)

    _add_receive(commands.add_parser("receive", help="receive what others push, into a folder"))

    outbox = commands.add_parser("outbox", help="what waits until its receiver is there")
    outbox.add_argument("--folder", help="the outbox (SNYPER_OUTBOX)")
    actions = outbox.add_subparsers(metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a file or JSON")
    add.add_argument("what", metavar="FILE|JSON")
    add.set_defaults(run=_add)
    shown = actions.add_parser("list", help="show what waits, and what was refused")
    shown.add_argument("--json", action="store_true", help="as JSON")
    shown.set_defaults(run=_list)
    run = actions.add_parser("run", help="deliver until Ctrl-C")
    _add_server(run, "--to", "SERVICE_SERVER_URL")
    run.add_argument("--once", action="store_true", help="deliver what waits now, and end")
    run.set_defaults(run=_run)
    retry = actions.add_parser("retry", help="have what was refused sent again")
    retry.add_argument("id", nargs="?", help="the one with this id, else all")
    retry.set_defaults(run=_retry)
    discard = actions.add_parser("discard", help="throw an item away")
    discard.add_argument("id")
    discard.set_defaults(run=_discard)
    return parser


def _add_server(parser: argparse.ArgumentParser, option: str, variable: str) -> None:
    parser.add_argument(option, metavar="URL", help=f"the server ({variable})")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=TIMEOUT_S, help="(%(default)g)")
    parser.add_argument("--tries", metavar="N", type=int, default=TRIES, help="(%(default)d)")


def _add_receive(parser: argparse.ArgumentParser) -> None:
    several: Any = {"action": "append", "default": []}
    is_on: Any = {"action": "store_true"}
    parser.add_argument("--into", metavar="FOLDER", default="received", help="where it is kept (%(default)s)")
    where = "where to listen, :PORT on every address (that of CLIENT_SERVER_URL if set, else 127.0.0.1:8001)"
    parser.add_argument("--listen", metavar="HOST:PORT", help=where + "; may be repeated", **several)
    parser.add_argument("--handlers", metavar="FILE", help="call its on_file_received and on_data_received")
    what = "take only files of this type (image/*) or suffix (.jpg); may be repeated"
    parser.add_argument("--accept", metavar="PATTERN", help=what, **several)
    parser.add_argument("--list", help="show what is only partly here, and end", **is_on)
    parser.add_argument("--key-file", metavar="FILE", help="for who sends the key in it (SNYPER_SERVICE_KEY)")
    parser.add_argument("--open", help="let everybody in who reaches it, without a key", **is_on)
    parser.add_argument("--certificate", metavar="FILE", help="serve HTTPS with this certificate (PEM)")
    parser.add_argument("--certificate-key", metavar="FILE", help="its key, if it is in a file of its own")
    limit = "another limit than the default; may be repeated"
    parser.add_argument("--limit", metavar="NAME=NUMBER", help=limit, **several)
    parser.add_argument("--json", help="JSON on stdout, all else on stderr", **is_on)
    parser.set_defaults(run=_receive)


def _receive(options: Any) -> int:
    from snyper.device.receive_command import receive  # which loads more than all the others

    return receive(options)


def _send(options: Any) -> int:
    adapter = RemoteFileAdapter(
        *(options.to, options.timeout),
        path=options.path,
        field=options.field,
        data_path=options.data_path,
        save_to=options.save_to,
        tries=options.tries,
        long=options.long,
        on_progress=_standing(),
    )
    what = file_or_json(options.what)
    if isinstance(what, Path):
        result = adapter.process(what, options.options, _progress())
        print(result if isinstance(result, str) else json.dumps(result))
    else:
        print(json.dumps(adapter.process_data(what[0], _as_object(options.options))))
    return 0


def _push(options: Any) -> int:
    push = ClientPush(options.to, options.timeout, tries=options.tries)
    what = file_or_json(options.what)
    if isinstance(what, Path):
        answer = push.push_file_sync(what, on_sent=_progress())
    else:
        answer = push.push_data_sync(what[0])
    print(json.dumps(answer))
    return 0


def _add(options: Any) -> int:
    what = file_or_json(options.what)
    outbox = Outbox(options.folder)
    item = outbox.add_file(what) if isinstance(what, Path) else outbox.add_data(what[0])
    print(item.id)
    return 0


def _list(options: Any) -> int:
    outbox = Outbox(options.folder)
    waiting, failed = outbox.waiting(), outbox.failed()
    if options.json:
        print(json.dumps(as_json(outbox)))
        return 0
    for item in [*waiting, *failed]:
        name = item.filename or item.kind
        print(f"{item.id}  {item.size:>12}  {one_line(name)}  {one_line(item.reason) or 'waits'}")
    why = outbox.status().get("why")
    print(f"{len(waiting)} waiting, {len(failed)} refused" + (f"; {one_line(why)}" if why else ""))
    return 0


def _run(options: Any) -> int:
    def on_item(item: Item, reason: str) -> None:
        print(f"{item.id}  {one_line(item.filename or item.kind)}  {one_line(reason) or 'sent'}", flush=True)

    delivery = Delivery(Outbox(options.folder), options.to, options.timeout, on_item=on_item)
    if not options.once:
        with contextlib.suppress(KeyboardInterrupt):
            delivery.run_here()
        return 0
    report = delivery.flush(options.tries)
    if report.why:
        _say(f"{report.left} waiting: {report.why}")
    if report.state == DELIVERING:
        return EXIT_FAILED if report.refused else 0
    return EXIT_UNREACHABLE if report.state == AWAY else EXIT_FAILED


def _retry(options: Any) -> int:
    count = Outbox(options.folder).retry(options.id)
    print(f"{count} to be sent again")
    return 0 if count or options.id is None else EXIT_FAILED


def _discard(options: Any) -> int:
    if Outbox(options.folder).discard(options.id):
        return 0
    _say(f"there is no {options.id}")
    return EXIT_FAILED


def _as_object(text: Optional[str]) -> Any:
    """Return the options of data, which are an object. Raises ValueError."""
    if text is None:
        return None
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("the options of data are a JSON object")
    return value


def _standing() -> Callable[[float, Optional[int]], None]:
    """Return what shows how long work stands, on a terminal."""
    last = ""

    def on_progress(share: float, place: Optional[int]) -> None:
        nonlocal last
        text = standing(share, place)
        if text != last:
            last = text
            print(f"\r{text:30}", end="\r", file=sys.stderr, flush=True)

    return on_progress if sys.stderr.isatty() else lambda share, place: None


def _progress() -> Callable[[int, int], None]:
    """Return what shows the percent that is sent, on a terminal."""
    last = -1

    def on_sent(sent: int, total: int) -> None:
        nonlocal last
        percent = 100 * sent // total if total else 100
        if percent != last:
            last = percent
            end = "\n" if sent == total else ""
            print(f"\r{percent:3d} %", end=end, file=sys.stderr, flush=True)

    return on_sent if sys.stderr.isatty() else lambda sent, total: None


def _say(text: str) -> None:
    print(f"snyper.device: {one_line(text)}", file=sys.stderr)


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 141
    sys.exit(status)
