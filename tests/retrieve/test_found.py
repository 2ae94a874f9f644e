from __future__ import annotations

import subprocess
import sys


def test_a_question_to_a_fhir_server_loads_no_dicom_library() -> None:
    script = "import sys, node.retrieve.child, node.retrieve.fhir.inquiry; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert "httpx" in loaded
    assert not {"pydicom", "pynetdicom", "numpy"} & set(loaded)
