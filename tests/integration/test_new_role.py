"""A stranger adds a role, as CONTRIBUTING.md says: its class, and its line in the admission."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from snyper.firmware.master import admission
from snyper.firmware.master.registry import Peer, Registry
from tests.integration.harness import console_of, peer_of, registration, running_hub, scripted_target


class Gate(Peer):
    """A gate that counts who passes, and that sounds an alarm."""

    role = "gate"
    reports = ("passage", "alarm")
    most = 2
    passages = 0

    def limit(self, registry: Registry) -> int:
        return self.most

    def record(self, word: str, data: dict[str, object], key: str) -> None:
        self.passages += word == "passage"
        super().record(word, {**data, "count": self.passages}, key)


async def test_a_role_is_its_class_and_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = admission.role_of
    monkeypatch.setattr(admission, "role_of", lambda word: Gate if word == "gate" else others(word))
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(running_hub("cpython", tmp_path))
        console = await stack.enter_async_context(console_of(hub, subscribed=True))
        await stack.enter_async_context(scripted_target(hub, "t"))
        gate = await stack.enter_async_context(peer_of(hub))
        await gate.send(registration("west", role="gate", boot_id="b1"))
        await gate.expect("registered", target_id="west")

        # There may be as many as it says.
        for name, reply in (("east", "registered"), ("south", "error")):
            other = await stack.enter_async_context(peer_of(hub))
            await other.send(registration(name, role="gate"))
            await other.expect(reply)

        # Its reports are acknowledged, counted once each, and shown.
        passage = {"type": "passage", "id": "p1", "data": {"speed": 3}}
        for report in (passage, passage, {"type": "alarm", "id": "p2"}):
            await gate.send(report)
            await gate.expect("ack", id=report["id"], status="ok")
        assert await console.event("passage", "west") == {
            "event": "passage",
            "seq": 2,
            "speed": 3,
            "count": 1,
        }
        assert await console.event("alarm", "west") == {"event": "alarm", "seq": 3, "count": 1}
        await gate.send({"type": "hit", "id": "p3"})  # which is another role's
        await gate.expect_error("unknown_type", id="p3")

        # Whoever may command reaches it by its name, and not by `all`.
        id = await console.request("open", "west", timeout_ms=10_000)
        command = await gate.expect("open")
        await gate.send({"type": "reply", "id": command["id"], "status": "ok"})
        await console.expect("reply", id=id, target_id="west", status="ok")
        assert (await console.ask("ping", "all"))["data"] == {"ok": 1, "failed": 0}
        await gate.send({"type": "stand_up", "id": 1, "target_id": "t"})
        await gate.expect_error("unknown_type", id=1)
