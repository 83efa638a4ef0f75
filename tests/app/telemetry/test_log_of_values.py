"""Values of files and of queries are not in the log, whatever library meets them, and whenever it is imported."""

import subprocess
import sys

import pytest

from app.telemetry.logs import OUR_LOGGERS
from tests.service.process import ROOT

_SCRIPT = """
import logging, sys, threading, warnings
from app.telemetry.logs import start_logging
start_logging("DEBUG", sys.argv[1])
from pydicom import DataElement  # which sets the level of its logger
from pydicom.charset import convert_encodings
from pydicom.config import logger
from PIL import Image, TiffImagePlugin

class Value:
    def __del__(self):
        raise ValueError("Secret")

def fail(text):
    try:
        int(text)
    except ValueError as error:
        raise KeyError(text) from error

convert_encodings(["Secret"])
DataElement(0x0020000D, "UI", "Secret^Name")
logger.warning("Secret")
warnings.simplefilter("always")
warnings.warn("Secret")
for name in ("pydicom", "PIL.TiffImagePlugin", "botocore.auth", "urllib3.connectionpool", "numpy", "sqlalchemy.engine"):
    logging.getLogger(name).debug("Secret %s", name)
for name in ("pydicom", "PIL.Image", "numpy", "sqlalchemy.pool", "werkzeug", "py.warnings", "asyncio"):
    logging.getLogger(name).error("Secret %s", name)
del (value := [Value()])[0]
thread = threading.Thread(target=fail, args=["Secret"])
thread.start()
thread.join()
try:
    fail("Secret")
except KeyError:
    logging.getLogger("app").exception("ours")
    logging.getLogger("waitress").exception("theirs")
try:
    open("/missing/file")
except OSError:
    logging.getLogger("app").exception("of the system")
fail("Secret")
"""


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_library_quotes_values_in_the_log(form: str) -> None:
    command = [sys.executable, "-c", _SCRIPT, form]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    lines = [line for line in done.stderr.splitlines() if 'fail("Secret")' not in line]  # the program itself
    assert "Secret" not in "\n".join(lines) + done.stdout
    for expected in ("ours", "theirs", "No such file or directory"):
        assert expected in done.stderr
    assert done.stderr.count("builtins.KeyError") == 4 and done.stderr.count("builtins.ValueError") == 5
    assert done.stderr.count("in fail") >= 4, "it says where"


def test_all_packages_of_ours_may_log() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests", "bench"}
    assert packages | {"access", "__main__"} == OUR_LOGGERS
