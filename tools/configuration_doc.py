"""docs/configuration.md, made from the schemas in firmware/target/config.py and firmware/master/config.py.

`python -m tools.configuration_doc` writes it; `--check` writes nothing and ends with 1 where the page is not
what it would write. What a setting means is said here, by its path: a board has no use for it.
"""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snyper.dashboard.limits import LIMITS as DASHBOARD_LIMITS
from snyper.firmware.master import config as master
from snyper.firmware.master.crosstalk import RATIO
from snyper.firmware.target import config as target
from snyper.hub.limits import LIMITS
from snyper.shared.config import MAX_BYTES, ConfigError, Field, List

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configuration.md"

SCHEMAS: dict[str, dict[str, Any]] = {"target": target.SCHEMA, "master": master.SCHEMA}
READ = {"target": target.read, "master": master.read}

_KEY = (
    "The key of the fleet, or of this board. Where the hub has one, nobody who does not prove one is let in; "
    "a target with one serves no hub that does not. Empty: none"
)
_COUNTRY = "Where the board is, which decides the radio's channels and power. Empty: what is legal everywhere"
_LED = "The light that shows what the board is doing. `LED` is the one on the board"
_WATCHDOG = (
    "Firmware that hangs for this long is restarted by the chip. 0 switches this off, which is for finding "
    "faults only"
)

_LIMITS = {
    "max_targets": "How many targets are let in",
    "max_consoles": "How many consoles, and as many services, are let in at a time",
    "max_events": "How many past events are kept in memory, for consoles that come back",
    "unregistered": (
        "How many connections may be open that have not registered, beside those that have: when one more "
        "comes, one that was refused is closed, or else the one that has been here longest. There are never "
        "more than free places"
    ),
    "strangers_per_s": (
        "How many connections that end without having registered are accepted each second, once as many as "
        "`unregistered` have come at once; the others wait"
    ),
    "per_address": "How many that have registered may be connected from one address",
    "register_ms": "How long a connection may take to register. A person with `nc` may want 60000",
    "wrong_keys_at_once": (
        "How many wrong keys one address may say at once; then one a second. Others are not slowed"
    ),
    "lines_at_once": "How many lines one peer may send at once, empty ones too; then `lines_per_s`",
    "lines_per_s": "How many lines one peer may send each second for long",
    "events_at_once": (
        "How many events one name may cause at once, by reports, by changes of state and by coming and "
        "going; then `events_per_s`"
    ),
    "events_per_s": "How many events one name may cause each second for long",
    "new_names_at_once": "How many names that the hub does not know may come at once; then `new_names_per_s`",
    "new_names_per_s": "How many new names may come each second for long",
}

_DASHBOARD_LIMITS = {
    "tabs": "In how many tabs it may be open",
    "cards": "How many targets Range shows at a time",
    "messages_at_once": "How many messages one tab may send at once; then `messages_per_s`",
    "messages_per_s": "How many messages one tab may send each second for long",
    "message_bytes": "How long a message of a tab may be",
    "connections": "How many connections may be open, and at most half of the files that the system allows",
    "per_address": "How many of them one address may have. A proxy is one address",
    "handshake_ms": "How long a browser may take for the TLS handshake of HTTPS",
    "head_ms": "How long it may take for the head of a request, and how long it may wait before the next",
    "head_bytes": "How long a head may be",
    "body_ms": "How long it may take for a body, which only a password has",
    "body_bytes": "How long a body may be",
    "answer_ms": "For how long it may take nothing of an answer",
    "sessions": "How many may be signed in; the oldest session ends when there is one more",
    "session_s": "How long one stays signed in",
    "guesses": "How many wrong passwords of one address cost nothing; then each doubles a wait",
    "guess_wait_s": "How long that wait may become",
    "exports": "How many exports may be asked for at a time; one is written, the others wait",
}

MEANINGS: dict[str, dict[str, str]] = {
    "target": {
        "target_id": "The target's name, which no other target of the hub has",
        "groups": "Groups that it belongs to: `snyper stand-up group:NAME` commands all of one",
        "hub": (
            "Where the hub is, by address or by name, with port 8081 if none is written; with `tls://` "
            "before it the two speak TLS, or not at all. The target dials the first; when that does not "
            "answer, or is lost, the next, over and over"
        ),
        "key": _KEY,
        "certificate": (
            "The certificate of the hub, for what in `hub` begins with `tls://`: one that shows another is "
            "not spoken to. `snyper deploy` writes it, from the file that `snyper hub --tls` has made"
        ),
        "wifi.hostname": (
            "The board's name in the network. Empty: `snyper-` and the `target_id`, as far as that is legal"
        ),
        "wifi.country": _COUNTRY,
        "wifi.networks": "The Wi-Fi networks it may join, tried in order; by default one, as below",
        "wifi.networks[].ssid": "The network's name, capitals and small letters as they are there",
        "wifi.networks[].password": "Its WPA2 password. Empty: an open network",
        "wifi.networks[].address": "A fixed address and the length of the network's prefix. Empty: by DHCP",
        "wifi.networks[].gateway": "With `address` only: the router, if the hub is beyond it",
        "wifi.networks[].dns": "With `address` only: who is asked for names, if the hub is given by name",
        "servo.pin": "The GPIO with the servo's signal wire",
        "servo.up_deg": "Where the servo is when the target is up",
        "servo.down_deg": "Where it is when the target is down; may be more or less than `up_deg`",
        "servo.min_pulse_us": "The pulse for 0 degrees, from the servo's data sheet",
        "servo.max_pulse_us": "The pulse for 180 degrees; more than `min_pulse_us`",
        "servo.travel_ms": (
            "How long the way between `down_deg` and `up_deg` takes. More is slower and gentler; less than "
            "the servo needs makes `up` come before it is true. A hub waits 3 seconds for a motion"
        ),
        "piezo.pin": "The GPIO that measures the piezo",
        "piezo.threshold": (
            "How strong a sample must be to be a hit: 65,535 is 3.3 V. Too low counts wind and the target's "
            "own motion, too high misses hits"
        ),
        "piezo.debounce_ms": (
            "For this long after the target is armed nothing counts, because the plate still rings"
        ),
        "piezo.sample_ms": (
            "The time between two bursts of samples. More spares the processor and misses short hits"
        ),
        "piezo.burst": "How many samples a burst has; the strongest counts",
        "led.pin": _LED,
        "safe_pose": (
            'What a target does that has lost its hub: `"down"` goes down, `"stay"` stays as it is and lets '
            "a running round end"
        ),
        "watchdog_ms": _WATCHDOG,
    },
    "master": {
        "listen": "The port that targets and consoles dial; with a host, only on that address of the board",
        "max_targets": (
            f"How many targets are let in. A Pico W has {master.RP2_CONNECTIONS} connections for "
            "targets and consoles together, and its access point takes four stations"
        ),
        "max_consoles": "How many consoles, such as `snyper watch`, are let in at a time",
        "key": _KEY,
        "keys": (
            "More keys, each a line `NAME:HEX RIGHTS`. RIGHTS are `fleet` (any role, any name), `device` "
            "(only the target or service of that name), `console`, or `reader` (one that may only read)"
        ),
        "open": (
            "Whether whoever is in its Wi-Fi is let in without a key. A hub board without a key and with the "
            "password that everybody can read here lets nobody in unless this is `true`"
        ),
        "crosstalk_ms": (
            "A hit does not count that is at most so long before or after one of another target that is "
            f"{RATIO} times as strong or stronger: it is the same blow, through the frame. 0: all count"
        ),
        **{f"limits.{name}": meaning for name, meaning in _LIMITS.items() if name in master.LIMITS},
        "access_point.ssid": "The name of the Wi-Fi network that the board opens",
        "access_point.password": "Its WPA2 password. Choose your own: everybody can read the default here",
        "access_point.channel": "1, 6 and 11 disturb each other least. 12 and 13 are not allowed everywhere",
        "access_point.country": _COUNTRY,
        "screen.driver": (
            "The small screen on the board: `ssd1306` is one of 128 x 64 points on I2C, `none` is none"
        ),
        "screen.sda_pin": "The GPIO with its wire SDA: an even one",
        "screen.scl_pin": (
            "The GPIO with its wire SCL, of the same I2C as `sda_pin`: the one after it, or four or eight "
            "away from that"
        ),
        "screen.address": "Its address on I2C: 60 (0x3C) on most, 61 (0x3D) on some",
        "buttons.choose_pin": "The GPIO with the button that steps through the games. Empty: none",
        "buttons.start_pin": "The GPIO with the button that starts and stops them. Empty: none",
        "led.pin": _LED,
        "watchdog_ms": _WATCHDOG,
    },
}


@dataclass(frozen=True)
class Example:
    """A config.json on the page: for which role, on which `sys.platform`, and what there is to say of it."""

    title: str
    role: str
    platform: str
    config: Mapping[str, Any]
    words: str


EXAMPLES = (
    Example(
        "A target of a hub board",
        "target",
        "rp2",
        {
            "target_id": "target_1",
            "groups": ["left"],
            "wifi": {"networks": [{"ssid": "snyper", "password": "pop-up-targets"}]},
        },
        "The hub board is at 192.168.4.1, which is the default of `hub`.",
    ),
    Example(
        "Two Wi-Fi networks",
        "target",
        "rp2",
        {
            "target_id": "target_2",
            "hub": ["192.168.4.1", "192.168.1.10"],
            "wifi": {
                "country": "GB",
                "networks": [
                    {"ssid": "snyper", "password": "pop-up-targets"},
                    {"ssid": "Club house", "password": "write yours here"},
                ],
            },
        },
        "The second is tried when the first is not there or refuses the password, then the first again. Each "
        "has a hub of its own, and both are dialled in turn.",
    ),
    Example(
        "A fixed address, and two hubs",
        "target",
        "rp2",
        {
            "target_id": "target_3",
            "hub": ["192.168.1.10:8081", "hub.club.example"],
            "wifi": {
                "hostname": "lane-3",
                "networks": [
                    {
                        "ssid": "Club house",
                        "password": "write yours here",
                        "address": "192.168.1.53/24",
                        "gateway": "192.168.1.1",
                        "dns": "192.168.1.1",
                    }
                ],
            },
        },
        "No other device may have that address; choose one outside the range that the router gives away. The "
        "prefix 24 is the mask 255.255.255.0. A target that loses the first hub dials the second.",
    ),
    Example(
        "Other pins, and a stronger servo",
        "target",
        "rp2",
        {
            "target_id": "target_4",
            "servo": {
                "pin": "GP15",
                "up_deg": 20,
                "down_deg": 120,
                "min_pulse_us": 900,
                "max_pulse_us": 2100,
                "travel_ms": 600,
            },
            "piezo": {"pin": 27, "threshold": 12000},
            "led": {"pin": 14},
        },
        "A pin is a GPIO number, as in `15` and `GP15`, not a number counted along the board's edge. On a "
        "Pico W, GPIO 23, 24, 25 and 29 belong to the Wi-Fi chip, and only 26, 27 and 28 measure a piezo. "
        "Two things on one pin are refused.",
    ),
    Example(
        "A hub board",
        "master",
        "rp2",
        {
            "access_point": {
                "ssid": "range-7",
                "password": "write yours here",
                "channel": 11,
                "country": "GB",
            },
            "key": "fleet:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        },
        "Its address is always 192.168.4.1. Its targets have the same `ssid`, `password` and `key`.",
    ),
    Example(
        "A hub board with a screen and two buttons",
        "master",
        "rp2",
        {
            "screen": {"driver": "ssd1306", "sda_pin": 4, "scl_pin": 5},
            "buttons": {"choose_pin": 14, "start_pin": 15},
        },
        "Wired as on the page [The hub board](hub-board.md#a-screen-and-two-buttons).",
    ),
    Example(
        "A Pico 2 W",
        "target",
        "rp2",
        {
            "target_id": "target_5",
            "wifi": {"networks": [{"ssid": "snyper", "password": "pop-up-targets"}]},
        },
        "Everything is as on a Pico W: the same pins, the same file.",
    ),
    Example(
        "An ESP32",
        "target",
        "esp32",
        {
            "target_id": "target_6",
            "wifi": {"networks": [{"ssid": "snyper", "password": "pop-up-targets"}]},
            "servo": {"pin": 18},
            "piezo": {"pin": 34},
            "led": {"pin": 2},
        },
        "An ESP32 measures on GPIO 32 to 39 while its Wi-Fi is on. Most boards have their light on GPIO 2, "
        "and none is called `LED`. It has a watchdog too. Of its pins the firmware checks only that no two "
        "are the same.",
    ),
)

# What people get wrong, each for its message on the page.
FAULTS: tuple[dict[str, Any], ...] = (
    {"wifi": {"networks": [{}, {"passwrod": ""}]}},
    {"servo": {"up_deg": 200}},
    {"led": {"pin": 16}},
)

_HEAD = f"""# Configuration

<!-- Made by tools/configuration_doc.py: change the schema or the words there, not here. -->

A board reads its settings from the file `config.json` on its flash when it starts. Whatever is left out has
the default below, so a file may be as short as `{{}}`.

## Changing it

`snyper deploy` writes the file from its options and from `fleet.toml`; that file has the same words, and
`"servo": {{"pin": 15}}` here is `servo = {{ pin = 15 }}` there. It checks the whole before it sends anything.

`snyper config --port PORT` shows what a board has and checks it.

By hand, with the board on USB, fetch the file, change it, and put it back:

    mpremote cp :config.json config.json
    mpremote cp config.json :config.json
    mpremote reset

`mpremote` stops the firmware, and a watchdog restarts a stopped board within eight seconds: if it does so
while you copy, copy again.

## When it is wrong

A key that does not exist, a value of another type or out of its limits, a pin that is used twice: all of it
is refused, with its path, by `snyper deploy` and by the board alike:

{{faults}}

So is a file that is no JSON, not UTF-8, or longer than {MAX_BYTES:,} bytes. In it, a letter such as ä or an
emoji is written as it is, not as `\\ud83c\\udfaf`. Passwords and keys are in no message.

A board with a wrong file starts all the same. It runs with the last file that was right, which it keeps as
`config.good.json`, and writes the fault into its log (`snyper logs`). Where there is no such file either it
runs with the defaults, and its light blinks as in safe mode: long, long, short. Put a right `config.json` on
it and restart it.
"""

_COMPUTER = """
## Limits

A hub says no in time: whoever goes beyond one of these loses the connection, and nobody else anything. On a
computer `snyper hub --limit NAME=NUMBER` sets one and may be repeated; a hub board has them in its
`config.json`, as above. Lines, and the time to register, are looked at every 500 ms; until then more is
taken.

What every peer relies on is fixed, on a computer and on a board: how long a line is, how many bytes may
follow it, how deep it nests, how many lines wait for a slow reader, how many requests of one peer are under
way. See [protocol.md](protocol.md#limits).

"""

_DASHBOARD = """
## Limits of the dashboard

`snyper dashboard --limit NAME=NUMBER` sets one and may be repeated. What becomes of who goes beyond one is in
[dashboard.md](dashboard.md#limits).

| limit | is | default | means |
| --- | --- | --- | --- |
"""

_TITLES = {"target": "A target's settings", "master": "A hub board's settings"}
_NOTES = {
    "target": "A change of `target_id` makes it another target to the hub.\n",
    "master": "",
}


def settings(schema: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Field]]:
    """List the fields of a schema with its path, in order; those of a list's entries after the list."""
    for name, field in schema.items():
        path = f"{where}{name}"
        if isinstance(field, dict):
            yield from settings(field, f"{path}.")
            continue
        yield path, field
        if isinstance(field, List) and isinstance(field.entry, dict):
            yield from settings(field.entry, f"{path}[].")


def page() -> str:
    """Return the text of docs/configuration.md. Raises KeyError for a setting whose meaning is not said."""
    parts = [_HEAD.replace("{faults}", "\n".join(f"    {_message(given)}" for given in FAULTS))]
    for role, schema in SCHEMAS.items():
        parts.append(f"\n## {_TITLES[role]}\n\n")
        parts.append("| setting | is | default | means |\n| --- | --- | --- | --- |\n")
        parts.extend(_row(path, field, MEANINGS[role][path]) for path, field in settings(schema))
        parts.append(f"\n{_NOTES[role]}" if _NOTES[role] else "")
    parts.append(_COMPUTER)
    parts.append("| limit | is | default | on a hub board | means |\n| --- | --- | --- | --- | --- |\n")
    for name, field in LIMITS.items():
        board: Any = {**master.SCHEMA, **master.LIMITS}.get(name)
        there = board.default if board else "none"
        parts.append(f"| `{name}` | {field.expects()} | {field.default} | {there} | {_LIMITS[name]} |\n")
    parts.append(_DASHBOARD)
    parts.extend(_row(name, field, _DASHBOARD_LIMITS[name]) for name, field in DASHBOARD_LIMITS.items())
    parts.append("\n## Examples\n")
    parts.extend(_example(example) for example in EXAMPLES)
    return "".join(parts)


def _message(given: Mapping[str, Any]) -> str:
    try:
        target.read(given, "rp2")
    except ConfigError as error:
        return str(error)
    raise ValueError(f"{given} is right")


def _row(path: str, field: Field, meaning: str) -> str:
    default = json.dumps(field.default)
    expects = field.expects()
    if isinstance(field, List) and isinstance(field.entry, Field):
        expects += f", each {field.entry.expects()}"
    return f"| `{path}` | {expects} | `{default}` | {meaning} |\n"


def _example(example: Example) -> str:
    text = json.dumps(example.config, indent=2, ensure_ascii=False)
    return f"\n### {example.title}\n\n```json\n{text}\n```\n\n{textwrap.fill(example.words, 110)}\n"


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print("usage: python -m tools.configuration_doc [--check]", file=sys.stderr)
        return 2
    text = page()
    is_current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
    if arguments and not is_current:
        print(f"{PAGE.relative_to(ROOT)} is not current: python -m tools.configuration_doc", file=sys.stderr)
        return 1
    if not is_current:
        PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
