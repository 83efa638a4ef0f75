"""Values of files that clients send are not in the log."""

import subprocess
import sys

from tests.service.process import ROOT

_SCRIPT = """
from pydicom import DataElement
from pydicom.charset import convert_encodings
from app.telemetry.logs import start_logging
start_logging("INFO", "text")
convert_encodings(["Secret"])
DataElement(0x0020000D, "UI", "Secret^Name")
"""


def test_pydicom_does_not_quote_values_in_the_log() -> None:
    command = [sys.executable, "-c", _SCRIPT]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120)
    assert "Secret" not in done.stderr + done.stdout
