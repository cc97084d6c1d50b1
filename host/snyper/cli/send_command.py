"""`snyper send`: any command to whoever serves it, with no code for that command here or in the hub; or, with
`--to URL`, a file or JSON to a server that works on it.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from snyper.cli import screens, transfers
from snyper.cli.commands import HubOption, Json, run
from snyper.cli.output import err, out
from snyper.cli.target_commands import COMMAND_TIMEOUT_S, MAX_TIMEOUT_S, MIN_TIMEOUT_S
from snyper.cli.transfers import SERVER_TIMEOUT_S
from snyper.client import DEFAULT_HUB, TargetResult
from snyper.client.labels import natural
from snyper.client.selections import TargetCommand, carry_out
from snyper.device import RemoteFileAdapter
from snyper.shared.socket_protocol import (
    STREAM_TYPES,
    ErrorCode,
    MessageType,
    ProtocolError,
    SocketMessage,
    is_target_selector,
)
from snyper.system.process import EXIT_FAILED
from snyper.system.streams import print_json
from snyper.system.text import json_text, one_line

_NEVER_ASKED = {*STREAM_TYPES, MessageType.REPLY, MessageType.ERROR, MessageType.PONG}


Words = Annotated[
    list[str],
    typer.Argument(
        metavar="TARGET WORD KEY=VALUE",
        help="Names, group:NAME or all; the command; what it takes, as JSON or else as text. With --to:"
        " a FILE or JSON.",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=MIN_TIMEOUT_S,
        metavar="SECONDS",
        help=f"How long a target may take, else {COMMAND_TIMEOUT_S:g}; of a server each wait, else"
        f" {SERVER_TIMEOUT_S:g}.",
    ),
]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="URL", help="A server that works on a FILE or JSON; then no hub is asked."),
]
Options = Annotated[
    str | None,
    typer.Option("--options", metavar="TEXT", help="With --to: what the service is told beside."),
]
ServicePath = Annotated[
    str | None, typer.Option("--path", help="With --to: the service's, else /api/process/file or /data.")
]
FormField = Annotated[str, typer.Option("--field", help="With --to: the form field that a file goes in.")]
SaveTo = Annotated[
    Path, typer.Option("--save-to", metavar="FOLDER", help="With --to: where result files go.")
]
Long = Annotated[
    bool,
    typer.Option("--long", help="With --to: ask how it stands until it is done; Ctrl-C ends it there."),
]


def send(
    words: Words,
    timeout: Timeout = None,
    hub: HubOption = DEFAULT_HUB,
    as_json: Json = False,
    to: To = None,
    options: Options = None,
    path: ServicePath = None,
    field: FormField = "file",
    save_to: SaveTo = Path(),
    long: Long = False,
) -> None:
    """Send any command to targets or to another peer by its name, and show what they answer.

    The hub need not know the command: whoever serves it does. `snyper send target_1 read_log offset=0`
    With --to a server works on a file or JSON: `snyper send photo.jpg --to http://192.168.6.1:8000`
    """
    if to is not None:
        _send_to(to, words, timeout or SERVER_TIMEOUT_S, options, path, field, save_to, long)
        return
    if timeout is not None and timeout > MAX_TIMEOUT_S:
        _refuse(f"a target has {MAX_TIMEOUT_S:g} s at most")
    _command(hub, words, timeout or COMMAND_TIMEOUT_S, as_json)


def _command(hub: str, words: list[str], timeout_s: float, as_json: bool) -> None:
    """Have peers of a hub do something, and show what they answer."""
    selectors, word, data = parse(words)
    command = TargetCommand(word, round(timeout_s * 1000), data)
    items: dict[str, list[dict[str, object]]] = {}

    def on_item(name: str, item: dict[str, object]) -> None:
        items.setdefault(name, []).append(item)
        if not as_json:
            out.print(f"{name} {one_line(json_text(item))}", highlight=False, soft_wrap=True)

    async def work() -> list[TargetResult]:
        with screens.progress(err, word) as on_result:
            return await carry_out(hub, selectors, command, on_result, on_item)

    results = sorted(run(work(), hub), key=lambda result: natural(result.target_id))
    if as_json:
        print_json([{**asdict(result), "items": items.get(result.target_id, [])} for result in results])
    else:
        screens.print_table(screens.results_table(results, with_answers=True), "after", "why")
        for result in [one for one in results if one.code == ErrorCode.UNKNOWN_TYPE][:1]:
            calling = f"snyper call --hub {hub} {result.target_id} {command.word}"
            err.print(f"if {result.target_id} is a service, `{calling}` calls its function", soft_wrap=True)
    if not all(result.ok for result in results):
        raise typer.Exit(EXIT_FAILED)


def _send_to(
    url: str,
    words: list[str],
    timeout_s: float,
    options: str | None,
    path: str | None,
    field: str,
    save_to: Path,
    long: bool,
) -> None:
    """Have a server work on a file or JSON, and show what comes of it."""
    if len(words) != 1:
        _refuse("with --to there is one FILE, or one JSON text")
    what = transfers.parse(words[0])
    given = None if options is None or isinstance(what, Path) else value_of(options)
    if given is not None and not isinstance(given, dict):
        _refuse("the options of data are a JSON object")
    title = what.name if isinstance(what, Path) else "data"
    with transfers.transferring(), transfers.bar_of(title) as bar:
        server = RemoteFileAdapter(
            *(url, timeout_s),
            path=path or "/api/process/file",
            data_path=path or "/api/process/data",
            field=field,
            save_to=save_to,
            long=long,
            on_progress=bar.on_progress,
        )
        if isinstance(what, Path):
            result = server.process(what, options, bar.on_sent)
        else:
            result = server.process_data(what[0], given)
    if isinstance(what, Path):
        transfers.show_file(result)
    else:
        print_json(result)


def parse(words: list[str]) -> tuple[list[str], str, dict[str, object]]:
    """Parse TARGET... WORD [KEY=VALUE]... Raises BadParameter, which shows the word that is none of these."""
    count = next((number for number, text in enumerate(words) if "=" in text), len(words))
    if count < 2:
        _refuse("name a target and a command: TARGET... WORD [KEY=VALUE]...")
    *selectors, word = words[:count]
    data: dict[str, object] = {}
    for text in words[count:]:
        key, equals, value = text.partition("=")
        if not equals or not key or key in data:
            _refuse(f"{text} is no KEY=VALUE, or its key stands twice")
        data[key] = value_of(value)
    for selector in selectors:
        if not is_target_selector(selector):
            _refuse(f"{selector} is no target's name, group:NAME or all")
    if word.lower() in _NEVER_ASKED:
        _refuse(f"{word} is no command: nobody answers it")
    if "timeout_ms" in data:
        _refuse("say --timeout SECONDS instead of timeout_ms")
    try:
        SocketMessage(word, 1, selectors[0], data=data).to_line()
    except ProtocolError as error:
        _refuse(error.message)
    return selectors, word, data


def value_of(text: str) -> object:
    """Parse the value that JSON has for it, or return the text as it is."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return text


def _no_constant(text: str) -> NoReturn:
    """Refuse NaN and the infinities, which JSON does not have. Raises ValueError."""
    raise ValueError(text)


def _refuse(why: str) -> NoReturn:
    raise typer.BadParameter(why)
