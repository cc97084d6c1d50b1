"""A PostgreSQL of its own: a cluster and its socket in a temporary folder, without rights."""

import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path

from snyper.system.process import killed_with_parent

_USER = "postgres"  # who Debian's package makes; the server does not run as root


def find_programs() -> Path | None:
    """Return the folder with PostgreSQL's programs, the newest, None where it is not installed."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    newest = max(found, key=lambda path: int(path.parent.parent.name.split(".")[0]), default=None)
    on_path = shutil.which("initdb")
    return newest.parent if newest else Path(on_path).parent if on_path else None


class Cluster:
    """A running server; `new_database` is the URL of an empty database of it."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))  # a socket's path is short
        if os.geteuid() == 0:
            shutil.chown(self.folder, _USER, _USER)
        self._data = self.folder / "data"
        self._run("initdb", "--pgdata", str(self._data), "--auth", "trust", "--username", _USER, "--no-sync")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = ("-D", str(self._data), "-c", "listen_addresses=", "-k", str(self.folder))
        command = self._as_user([str(self._programs / "postgres"), *options], "INT")
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        while subprocess.run(
            [str(self._programs / "pg_isready"), "-q", "-h", str(self.folder)], check=False
        ).returncode:
            if self._process.poll() is not None:
                raise AssertionError((self.folder / "log").read_text())

    def kill(self) -> None:
        """End the server as a fault does: at once, with all its processes."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)  # of which it makes an immediate shutdown
        self._process.wait()

    def new_database(self, *options: str) -> str:
        """Make an empty database, and return its URL. `options` are createdb's."""
        name = f"test_{uuid.uuid4().hex}"
        command = [str(self._programs / "createdb"), "-h", str(self.folder), "-U", _USER, *options, name]
        subprocess.run(command, check=True)
        return f"postgresql://{_USER}@/{name}?host={self.folder}"

    def execute(self, url: str, statement: str) -> None:
        """Run a statement in the database with that URL, also where that is to be read only."""
        environment = {**os.environ, "PGOPTIONS": "-c default_transaction_read_only=off"}
        command = [str(self._programs / "psql"), "--quiet", "--dbname", url, "--output", os.devnull]
        subprocess.run([*command, "--command", statement], check=True, env=environment)

    def stop(self) -> None:
        """End the server, and remove its folder."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = self._as_user([str(self._programs / program), *arguments], "KILL")
        subprocess.run(command, check=True, capture_output=True, cwd=self.folder)

    def _as_user(self, command: Sequence[str], end: str) -> list[str]:
        if os.geteuid() != 0:
            return killed_with_parent(command, getattr(signal, f"SIG{end}"))
        user = ("--reuid", _USER, "--regid", _USER, "--clear-groups", "--pdeathsig", end)
        return ["setpriv", *user, *command]
