"""A peer that is gone without a word, as when a cable is cut. What notices is the system's keepalive, which a
relay would answer: so a network of its own is taken down.
"""

import json
import shutil
import subprocess
import sys

import pytest

from snyper.services import sockets
from tests.integration.harness import ROOT, at_length

# In full what stands in sockets.py: within 15 s. Else shorter, so that the test is.
KEEPALIVE = at_length("5 2 4 13", "1 1 2 3").split()
NOTICED_S = 2 + int(KEEPALIVE[3])  # the keepalive's own time, and what a busy computer adds


def _has_networks() -> bool:
    unshare = shutil.which("unshare")
    return (
        unshare is not None
        and not subprocess.run([unshare, "-rn", "true"], capture_output=True, check=False).returncode
    )


@pytest.mark.long
@pytest.mark.skipif(not _has_networks(), reason="this system allows no network of one's own (unshare -rn)")
def test_a_peer_that_is_gone_without_a_word() -> None:
    done = subprocess.run(
        ["unshare", "-rn", sys.executable, "-m", "tests.integration.vanishing", *KEEPALIVE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    noticed_s = found["noticed_s"]
    assert len(noticed_s) == 4
    assert max(noticed_s.values()) < NOTICED_S, noticed_s
    # The next call of a client that was idle asks for a sign of life first: nothing is sent.
    assert found["idle"][0] == "Unreachable"
    assert found["idle"][1] < 3.5
    # The server: who waits is forgotten, and never begun; a lease ends when it has to.
    assert found["forgotten_s"] < NOTICED_S
    assert found["begun"] == 1
    assert found["lease_early_s"] < 1
    assert found["lease_late_s"] < 1
    # With the network back each has its answer: the call that ran was not carried out again.
    assert found["begun_at_the_end"] == 3


def test_the_keepalive_takes_less_than_the_15_s_of_the_promise() -> None:
    kept = sockets._KEEPALIVE
    assert kept["TCP_KEEPIDLE"] + kept["TCP_KEEPINTVL"] * kept["TCP_KEEPCNT"] < 15
    limits = sockets._UNACKNOWLEDGED
    assert {limits["linux"][1] / 1_000, limits["win32"][1], limits["darwin"][1]} == {13}
