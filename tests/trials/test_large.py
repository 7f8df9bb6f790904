"""An attachment between real processes: killed five times with SIGKILL, resumed, identical, in little memory.

`make large` does the same with 10 GiB.
"""

from __future__ import annotations

from pathlib import Path

import large


def test_five_kills_lose_nothing_and_memory_stays_small(tmp_path: Path) -> None:
    memory, run = large.carry(tmp_path, 48 * 2**20)  # compares the bytes
    assert run.kills == [
        "sender, uploading",
        "own relay, uploading",
        "peer relay, forwarding",
        "receiver, downloading",
        "peer relay, downloading",
    ]
    assert set(memory.peak) == {"sender", "receiver", f"relay {large.OWN}", f"relay {large.PEER}"}
    assert max(memory.peak.values()) < large.LIMIT, memory.peak
