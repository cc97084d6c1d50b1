"""Modules that a hub board loads with the first that needs them. A computer has the memory, and whoever waits
for its hub is to wait for no module, each of which may take 10 ms.
"""

# ruff: noqa: F401 - to load them is all
from snyper.firmware.master import admission, asking, cease_fire, console_requests, duplicates, game_runner
from snyper.firmware.master.games import (
    announce,
    catalogue,
    crosstalk,
    duel,
    factory,
    gallery,
    lineup,
    quick,
    reaction,
    run,
    shoot,
    simon,
    state,
)
from snyper.firmware.master.roles import console, service, target
from snyper.shared import attachment_bytes, sealed_proof, sealed_stream, utf8
