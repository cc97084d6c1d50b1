"""The image of the gateway: its steps in an environment of its own, and built and run where buildah is.

Neither needs a registry of images: the base is a Debian that mmdebstrap makes. buildah changes the root of
what it runs, and needs no other privilege.
"""

import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from snyper.system.self_signed import make_certificate
from tests.package.test_wheel import DEADLINE_S, INSTALL_S, ROOT, built_wheel, environment, run

CONTAINERFILE = ROOT / "Containerfile"
BASE = "localhost/debian-python"
IMAGE = "localhost/snyper-gateway"
# In the container: the server, its own health check until it passes, who it is and what it wrote, its end.
TRY = """
health() { HEALTH; }
"$@" & server=$!
until health 2>/dev/null; do kill -0 $server || exit 9; sleep 0.2; done
id -u; stat -c '%u %a' /arrays/arrays.db; /opt/snyper/bin/snyper --version
kill -TERM $server; wait $server; echo "ended $?"
"""
ADDED_MB = 90  # to the base, at most: docs/arrays.md has what it was


def containerfile() -> str:
    """Return its text, with each instruction in one line."""
    return CONTAINERFILE.read_text(encoding="utf-8").replace("\\\n", " ")


def instruction(name: str) -> Any:
    """Return the JSON of the last such instruction."""
    [*_, found] = re.findall(rf"^{name}\b.*?(\[.*\])\s*$", containerfile(), re.MULTILINE)
    return json.loads(found)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def test_its_steps_in_an_environment(tmp_path: Path) -> None:
    """The same installation, command and health check, without the container around them."""
    port, here = free_port(), tmp_path / "environment"

    def moved(words: list[str]) -> list[str]:
        for old, new in (("/opt/snyper", str(here)), ("/arrays", str(tmp_path / "arrays"))):
            words = [word.replace(old, new) for word in words]
        return [word.replace(":8000", f":{port}") for word in words]

    [extras] = re.findall(r"pip install \S+ '/src(\[.*?\])'", containerfile())
    [needless] = re.findall(r"pip (uninstall .*?) &&", containerfile())
    venv.create(here, with_pip=True)
    wheel = built_wheel(ROOT, tmp_path / "wheel")
    run(here / "bin" / "python", "-m", "pip", "install", "--quiet", f"{wheel}{extras}", timeout=INSTALL_S)
    run(here / "bin" / "python", "-m", "pip", *needless.split())
    home = environment(HOME=str(tmp_path))
    without_key = subprocess.run(
        moved(instruction("ENTRYPOINT")), env=home, capture_output=True, text=True, check=False, timeout=60
    )
    assert (without_key.returncode, "needs a key" in without_key.stderr) == (2, True)
    command = [*moved(instruction("ENTRYPOINT")), "--open", "--demo-signal"]
    with subprocess.Popen(command, env=home, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert server.stderr.readline().startswith("gateway: ")
            run(*moved(instruction("HEALTHCHECK")))
        finally:
            server.terminate()
        assert server.wait(DEADLINE_S) == 0
    certificate = tmp_path / "certificate.pem"
    certificate.write_bytes(make_certificate())
    command = [*command, "--certificate", str(certificate)]
    with subprocess.Popen(command, env=home, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert "https://" in server.stderr.readline()
            run(*moved(instruction("HEALTHCHECK")))
        finally:
            server.terminate()
        assert server.wait(DEADLINE_S) == 0
    failed = subprocess.run(moved(instruction("HEALTHCHECK")), capture_output=True, check=False, timeout=60)
    assert failed.returncode != 0


@pytest.fixture(scope="module")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command, with a store of its own that has the base."""
    for name in ("buildah", "mmdebstrap"):
        if shutil.which(name) is None:
            pytest.skip(f"no {name} here: apt install {name}")
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], check=False).returncode != 0:
        pytest.skip("nobody but a root that may mount makes a Debian")
    system = platform.freedesktop_os_release()
    if system["ID"] != "debian":
        pytest.skip(f"{system['ID']} has no Debian's keys")
    folder = tmp_path_factory.mktemp("images")
    base = folder / "base.tar"
    options = ("--quiet", "--variant=minbase", "--include=python3,python3-venv,ca-certificates")
    run("mmdebstrap", *options, system["VERSION_CODENAME"], base, timeout=1_200)
    store = ["--storage-driver", "vfs", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
    command = ["buildah", *store]
    (folder / "Containerfile").write_text("FROM scratch\nADD base.tar /\n")
    run(*command, "bud", "--isolation", "chroot", "--tag", BASE, folder, timeout=INSTALL_S)
    yield command
    run(*command, "rm", "--all")
    run(*command, "rmi", "--all", "--force")


def test_the_image(buildah: list[str]) -> None:
    certificates = "/etc/ssl/certs:/etc/ssl/certs:ro"  # by which this computer knows the package index
    run(
        *(*buildah, "bud", "--isolation", "chroot", "--format", "docker", "--volume", certificates),
        *("--build-arg", f"BASE={BASE}", "--tag", IMAGE, "--file", CONTAINERFILE, ROOT),
        timeout=INSTALL_S,
    )
    assert size_mb(buildah, IMAGE) - size_mb(buildah, BASE) < ADDED_MB
    config = json.loads(run(*buildah, "inspect", "--type", "image", IMAGE).stdout)["Docker"]["config"]
    assert config["User"] == "10001:10001"
    assert config["Volumes"] == {"/arrays": {}}
    assert config["Entrypoint"] == instruction("ENTRYPOINT")
    assert config["Healthcheck"]["Test"] == ["CMD", *instruction("HEALTHCHECK")]
    port = free_port()
    words = [word.replace(":8000", f":{port}") for word in config["Entrypoint"]]
    health = " ".join(f"'{word}'" for word in _quotable(config["Healthcheck"]["Test"][1:], port))
    container = run(*buildah, "from", "--isolation", "chroot", IMAGE).stdout.strip()
    script = ("sh", "-c", TRY.replace("HEALTH", health), "sh")
    done = run(*buildah, "run", "--isolation", "chroot", container, "--", *script, *words, "--open")
    version = run(sys.executable, "-m", "snyper.cli", "--version").stdout.strip()
    assert done.stdout.splitlines() == ["10001", "10001 600", version, "ended 0"]


def size_mb(buildah: list[str], image: str) -> int:
    [found] = json.loads(run(*buildah, "images", "--json", image).stdout)
    number, unit = found["size"].split()
    assert unit == "MB", found
    return round(float(number))


def _quotable(words: list[str], port: int) -> list[str]:
    return [word.replace("'", '"').replace(":8000", f":{port}") for word in words]
