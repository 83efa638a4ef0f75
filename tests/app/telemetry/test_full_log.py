"""A log that takes nothing stops nobody, and no traceback is written in place of its lines."""

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import logging, os
from app.telemetry.logs import start_logging

start_logging("INFO", "text")
logging.root.handlers[0].stream = open("/dev/full", "w")
logging.getLogger("app").info("a line")
os._exit(0)
"""


def test_lines_that_cannot_be_written_are_lost_and_nothing_else() -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
