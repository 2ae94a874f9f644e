"""A listener that nobody asks for steps has nothing of them in its memory."""

from __future__ import annotations

import subprocess
import sys


def test_nothing_of_steps_is_loaded_before_the_first_request() -> None:
    script = (
        "import sys, node.receive.listener; from node.receive.session import offered; offered();"
        "print(*sorted(n for n in sys.modules if n.startswith('node.') and ('ups' in n or 'performing' in n"
        " or 'matching' in n)))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    loaded = set(ran.stdout.split())
    assert "node.receive.intakes.ups" in loaded
    assert not loaded & {
        "node.receive.ups.service",
        "node.receive.ups.worklist",
        "node.receive.ups.encoding",
        "node.workflow.performing",
    }, loaded
