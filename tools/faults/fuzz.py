"""Fuzz a target, guided by what it reaches: `python -m tools.faults.fuzz TARGET RUNS CORPUS SEED`.

Starts with what tests/portable/fuzzed.txt has for it; what reaches more is written into the directory CORPUS.
Ends with another status than 0 at the first input that raises, which it prints. `--keep DIRECTORY` puts what
was found below there (a directory for each target) into that file, as little of it as reaches the same.
"""

import itertools
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from snyper.boards.micropython import find_micropython

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "tests" / "portable" / "fuzzed.txt"
MAX_LEN = 400
# What a reader of JSON says: `docs/protocol.md` names where the two differ, of messages and of settings.
_NO_JSON = ("bad_json", "refused")
_WORD = re.compile(rb'"[A-Za-z0-9_]+":?')
MAX_KEPT = 60  # of a target
MAX_KEPT_BYTES = 200
_HEAD = """# What fuzzing has found that reaches more of the code: python -m tools.faults.fuzz --keep
# target, input in hexadecimal digits, what CPython makes of it, and MicroPython where that differs
"""


def kept() -> dict[str, list[bytes]]:
    """Return the inputs that are kept, by target."""
    found: dict[str, list[bytes]] = {}
    for line in KEPT.read_text().splitlines():
        if line and not line.startswith("#"):
            name, digits, *_ = line.split("\t")
            found.setdefault(name, []).append(bytes.fromhex(digits))
    return found


def seeds(name: str) -> list[bytes]:
    """Return what fuzzing of a target begins with, beside what is kept: what its messages look like."""
    from tools.faults.fuzz_targets import sealed_stream

    register = (
        b'{"type":"register","id":1,"target_id":"t","data":{"role":"target","protocol":1,"hardware_id":"h",'
        b'"boot_id":"b","groups":["left"],"state":"down","heartbeat_ms":600,"max_line_bytes":4096,'
        b'"max_chunk_bytes":64,"key":"fleet","nonce":"00000000000000000000000000000000"}}\n'
    )
    sha256 = b"88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589"  # of abcd
    offer = b'{"type":"offer","id":1,"data":{"name":"a","sha256":"%s","length_bytes":4}}\n' % sha256
    chunk = b'{"type":"chunk","id":2,"data":{"sha256":"%s","offset":0},"bytes":4}\nabcd' % sha256
    return {
        "parser": [b"\x07" + register, b"\x03" + chunk, b'\x01{"type":"error","data":{}}\r\n\n[1]\n'],
        "handshake": [register],
        "keys": [b"\x09" + sealed_stream(), b"fleet:" + b"5a" * 32],
        "chunks": [offer + chunk + offer],
        "settings": [
            b'{"target_id":"t","hub":["10.0.0.1:8081"],"wifi":{"networks":[{"ssid":"a","password":"12345678"}]},'
            b'"servo":{"up_deg":90},"piezo":{"threshold":9000},"led":{"pin":"LED"}}',
            b'{"listen":":8081","max_targets":4,"screen":{"driver":"ssd1306"},"buttons":{"start_pin":15}}',
        ],
        "reports": [
            b'{"type":"hit","id":"e1","data":{"reaction_ms":412,"peak":48000,"gap_us":1,"at_us":5,'
            b'"uncertainty_us":1,"dropped":1}}',
            b'{"type":"miss","id":"e2","data":{"reason":"time_up","rests_at":9}}',
            b'{"type":"pong","id":1,"data":{"state":"down","uptime_ms":1}}',
            b'{"type":"configured","id":1,"data":{"groups":["a"]}}',
        ],
    }[name]


def fuzz(name: str, runs: int, corpus: Path, seed: int) -> None:
    """Fuzz a target, and end the process. The corpus is read and written."""
    import atheris  # type: ignore[import-untyped]

    with atheris.instrument_imports(include=["snyper", "tools.faults.fuzz_targets"]):
        from tools.faults.fuzz_targets import TARGETS
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate([*seeds(name), *kept().get(name, [])]):
        (corpus / f"seed-{number}").write_bytes(data)
    words = {word for data in seeds(name) for word in _WORD.findall(data)}
    dictionary = corpus.with_suffix(".dict")
    quoted = (word.decode().replace('"', '\\"') for word in sorted(words))
    dictionary.write_text("".join(f'"{word}"\n' for word in quoted))
    options = [f"-runs={runs}", f"-max_len={MAX_LEN}", f"-seed={seed}", "-timeout=20", f"-dict={dictionary}"]
    options += [f"-artifact_prefix={corpus}/", "-print_final_stats=1"]
    target = TARGETS[name]
    atheris.Setup(["fuzz", *options, str(corpus)], lambda data: _discard(target(data)))
    atheris.Fuzz()


def _discard(value: object) -> None:
    """Return nothing: the fuzzer takes no result."""


def keep(found: Path) -> None:
    """Write the inputs that are kept: for each line of code of the project, and each verdict, the shortest
    that reaches it.
    """
    from tools.faults.fuzz_targets import TARGETS

    lines = []
    for name in TARGETS:
        inputs = {*seeds(name), *kept().get(name, [])}
        inputs |= {path.read_bytes() for path in (found / name).glob("*") if path.is_file()}
        chosen = _chosen(name, sorted(inputs, key=lambda data: (len(data), data)))
        for data, (here, there) in zip(chosen, _verdicts(name, chosen), strict=True):
            lines.append("\t".join([name, data.hex(), here, *([] if here == there else [there])]))
    KEPT.write_text(_HEAD + "\n".join(lines) + "\n")


def _chosen(name: str, inputs: list[bytes]) -> list[bytes]:
    from tools.faults.fuzz_targets import verdict

    reached: set[object] = set()
    chosen: list[bytes] = []
    for data in inputs:
        if len(data) > MAX_KEPT_BYTES and data not in seeds(name):
            continue
        arcs: set[object] = set()

        def trace(frame: object, event: str, _: object) -> object:
            code = frame.f_code  # type: ignore[attr-defined]
            if "snyper" not in code.co_filename and "shared" not in code.co_filename:
                return None
            arcs.add((code.co_filename, frame.f_lineno))  # type: ignore[attr-defined]  # noqa: B023
            return trace

        sys.settrace(trace)  # type: ignore[arg-type]
        try:
            arcs.add(verdict(name, data))
        finally:
            sys.settrace(None)
        if not arcs <= reached:
            reached |= arcs
            chosen.append(data)
    return chosen[:MAX_KEPT]


def _verdicts(name: str, inputs: list[bytes]) -> list[tuple[str, str]]:
    from tools.faults.fuzz_targets import verdict

    there = on_micropython([(name, data) for data in inputs])
    return [(verdict(name, data), other) for data, other in zip(inputs, there, strict=True)]


def on_micropython(inputs: list[tuple[str, bytes]]) -> list[str]:
    """Return what MicroPython makes of inputs, each with its target. Raises OSError when it fails."""
    program = (
        "import sys\n"
        f"sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'host')!r}]\n"
        "from binascii import unhexlify\n"
        "from tools.faults.fuzz_targets import verdict\n"
        "while True:\n"
        "    line = sys.stdin.readline().strip()\n"
        "    if not line: break\n"
        "    name, _, digits = line.partition(' ')\n"
        "    print('verdict ' + verdict(name, unhexlify(digits)))\n"
    )
    with TemporaryDirectory() as directory:
        script = Path(directory) / "verdicts.py"
        script.write_text(program)
        done = subprocess.run(
            [str(find_micropython()), "-X", "heapsize=1M", str(script)],
            input="".join(f"{name} {data.hex()}\n" for name, data in inputs),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    said = done.stdout.splitlines()
    found = [line.removeprefix("verdict ") for line in said if line.startswith("verdict ")]  # beside the log
    if done.returncode or len(found) != len(inputs):
        raise OSError(
            f"MicroPython ends after {len(found)} of {len(inputs)}: {done.stdout[-300:]}{done.stderr[-900:]}"
        )
    return found


def alike(here: str, there: str) -> bool:
    """Return whether MicroPython makes the same of an input, but for what docs/protocol.md names: it takes
    some text that is no JSON, whose fields are then judged like any, and refuses some that is.
    """
    pairs = itertools.zip_longest(here.split(" "), there.split(" "))
    return all(one == other or one in _NO_JSON or other in _NO_JSON for one, other in pairs)


def main() -> None:
    if sys.argv[1] == "--keep":
        keep(Path(sys.argv[2]))
    else:
        name, runs, corpus, seed = sys.argv[1:]
        fuzz(name, int(runs), Path(corpus), int(seed))


if __name__ == "__main__":
    main()
