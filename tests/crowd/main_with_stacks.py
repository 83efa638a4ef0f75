"""main.py as it is; on SIGUSR2 each of its processes writes the stacks of all its threads to the log."""

import faulthandler
import runpy
import signal
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]

if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR2, all_threads=True)  # forked processes inherit it
    sys.path.insert(0, str(_ROOT))
    sys.argv[0] = str(_ROOT / "main.py")
    runpy.run_path(sys.argv[0], run_name="__main__")
