"""What can be declared a service, what is said of the rest, and of a file that has none."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import snyper
from snyper.offload.declarations import Kind, Service, service_of
from snyper.services import data_service, file_service, image_service


def test_the_endpoints_that_clients_know_are_the_defaults() -> None:
    @file_service
    def process(path: Path, options: str) -> None:
        """Count."""

    @data_service
    def process_data(data: Any, *, options: Any = None) -> None: ...

    @data_service("/api/analyze/sensors", takes="readings", gives="anomalies", idempotent=True)
    def analyze(readings: Any, threshold: float = 3.5) -> None: ...

    @image_service(limit_s=5, max_bytes=1000)
    def resize(path: Path) -> None: ...

    @file_service("/api/stt/transcribe", field="audio", media_type="audio/ogg")
    async def transcribe(path: Path) -> None: ...

    found = [service_of(one) for one in (process, process_data, analyze, resize, transcribe)]
    gib, mib = 2**30, 2**20
    of_data, of_file, of_image = Kind.DATA, Kind.FILE, Kind.IMAGE
    assert found == [
        Service(
            "process", of_file, "/api/process/file", "file", "", "", None, 300, gib, False, True, "Count."
        ),
        Service(
            *("process_data", of_data, "/api/process/data", "", "data", "result", None, 300),
            *(16 * mib, False, True, ""),
        ),
        Service(
            *("analyze", of_data, "/api/analyze/sensors", "", "readings", "anomalies", None, 300),
            *(16 * mib, True, False, ""),
        ),
        Service(
            *("resize", of_image, "/api/process/image", "image", "", "", "image/jpeg", 5, 1000),
            *(False, False, ""),
        ),
        Service(
            *("transcribe", of_file, "/api/stt/transcribe", "audio", "", "", "audio/ogg", 300, gib),
            *(False, False, ""),
        ),
    ]


def test_a_declared_function_is_the_function_that_it_was() -> None:
    @data_service
    def double(data: int) -> int:
        snyper.progress(0.5)  # to nobody
        return 2 * data

    assert double(2) == 4
    assert service_of(len) is None
    with pytest.raises(ValueError, match="not nan"):
        snyper.progress(float("nan"))


class Callable_:
    def __call__(self, data: Any) -> None: ...


def yielding(data: Any) -> Any:
    yield data


def two(data: Any, more: Any) -> None: ...
def none() -> None: ...
def positional(data: Any, options: Any, /) -> None: ...
def fine(data: Any) -> None: ...


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda: data_service("/api/x")(Callable_()), "a service is a function with a name, not"),
        (lambda: data_service(lambda data: None), "a service is a function with a name, not"),
        (lambda: data_service(yielding), "yielding yields: a service returns its result"),
        (lambda: data_service(two), "is called with what was sent, and with `options`"),
        (lambda: data_service(none), "is called with what was sent, and with `options`"),
        (lambda: data_service(positional), "is called with what was sent, and with `options`"),
        (lambda: data_service(3)(fine), "the path of fine is text such as"),  # type: ignore[call-overload]
        (lambda: data_service("api/x")(fine), "the path of fine is '/' and a word"),
        (lambda: data_service("/api/../x")(fine), "the path of fine is '/' and a word"),
        (lambda: data_service("/api/{x}")(fine), "the path of fine is '/' and a word"),
        (lambda: data_service("/api/x/")(fine), "the path of fine is '/' and a word"),
        (lambda: data_service("/")(fine), "the path of fine is '/' and a word"),
        (lambda: data_service("/health")(fine), "a path of the server's own"),
        (lambda: data_service("/jobs/fine")(fine), "a path of the server's own"),
        (lambda: data_service("/x", takes="")(fine), "`takes` of fine is a name, not ''"),
        (lambda: data_service("/x", gives="a\nb")(fine), "`gives` of fine is a name"),
        (lambda: data_service("/x", takes="options")(fine), "`takes` of fine cannot be 'options'"),
        (lambda: file_service("/x", field="options")(fine), "`field` of fine cannot be 'options'"),
        (lambda: file_service("/x", media_type="jpeg")(fine), "`media_type` of fine is one such as"),
        (lambda: file_service("/x", media_type="a/b\r\nc: d")(fine), "`media_type` of fine is one such as"),
        (lambda: file_service("/x", limit_s=0)(fine), "`limit_s` of fine is a number of seconds above 0"),
        (lambda: file_service("/x", limit_s=float("inf"))(fine), "`limit_s` of fine is a number of seconds"),
        (lambda: file_service("/x", max_bytes=-1)(fine), "`max_bytes` of fine is a number of bytes above 0"),
    ],
)
def test_what_cannot_be_declared_is_said(declare: Callable[[], object], said: str) -> None:
    with pytest.raises((TypeError, ValueError), match=said.replace("(", r"\(")):
        declare()


HEAD = "from snyper.services import data_service, file_service\n"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.py", None, "there is no file "),
        ("json.py", HEAD, "json.py has the name of a module that others import: rename it"),
        ("snyper.py", HEAD, "snyper.py has the name of a module that others import: rename it"),
        ("a.txt", HEAD, "a.txt is no Python: its name ends in .py"),
        ("a.py", HEAD + "def f(:\n", "a.py, line 2: invalid syntax: def f(:"),
        ("a.py", "x = 1\n  y = 2\n", "a.py, line 2: unexpected indent: y = 2"),
        ("a.py", "x = '\0'\n", "a.py"),
        ("a.py", HEAD + "\nimport no_such\n", "a.py, line 3: ModuleNotFoundError: No module named 'no_such'"),
        ("a.py", HEAD + "def f():\n    1 / 0\nf()\n", "a.py, line 3: ZeroDivisionError: division by zero"),
        ("a.py", "import sys\nsys.exit('no camera')\n", "a.py, line 2: SystemExit: no camera"),
        ("a.py", HEAD + "@data_service('x')\ndef f(data): ...\n", "a.py, line 2: ValueError: the path of f"),
        ("a.py", HEAD, "a.py declares no service: put @data_service"),
        (
            "a.py",
            HEAD + "@data_service\ndef f(data): ...\n@data_service\ndef g(data): ...\n",
            'a.py: f and g are both at /api/process/data: give one another path, @data_service("/api/g")',
        ),
        (
            "a.py",
            HEAD + "@data_service\ndef f(data): ...\ng = f\n@data_service('/x')\ndef f(data): ...\n",
            "a.py declares f twice: rename one of them",
        ),
    ],
)
def test_what_is_wrong_in_a_file_of_services_is_said(
    tmp_path: Path, name: str, text: str | None, said: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    assert loaded(tmp_path / name).startswith(f"ServicesError: {said}")


def test_a_file_of_services_imports_what_lies_beside_it_first(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("from snyper.services import data_service\nVALUE = 5\n")
    text = "import helper, sys\n@helper.data_service\ndef f(data): ...\nprint(helper.VALUE, __name__)\n"
    (tmp_path / "my-services.py").write_text(text)
    assert loaded(tmp_path / "my-services.py").splitlines() == ["5 my-services", "f"]


def loaded(path: Path) -> str:
    """Load it in a process of its own, as a worker does; return the names of its services, or the error."""
    source = (
        "import sys\nfrom pathlib import Path\nfrom snyper.offload.loading import *\n"
        "try:\n    print(*load_services(Path(sys.argv[1])))\n"
        "except ServicesError as error:\n    print(f'ServicesError: {error}')\n"
    )
    command = [sys.executable, "-P", "-c", source, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
