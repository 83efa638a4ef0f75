"""The service with shorter times of its watchdog, and with paths that make a web process hang. Run by test_watchdog.py.

The first argument says how many times of its memory a process is taken to have.
"""

import logging
import sys
import threading
from collections.abc import Callable
from typing import Any

from app.commands.command_line import main
from app.processes import children, supervisor, watchdog

SILENT_SECONDS = 8.0  # more than the 5 in which a loop goes round at least
_LOCKS = threading.Lock(), threading.Lock()
_BOTH_HOLD = threading.Barrier(2)


STUCK = "this thread answers no more"
"""The line with which each thread that hangs begins to do so."""


def hold_and_wait(first: int) -> str:
    logging.getLogger(__name__).warning(STUCK)
    with _LOCKS[first]:
        _BOTH_HOLD.wait()
        with _LOCKS[1 - first]:
            return "never"


def with_deadlock(create_app: Callable[..., Any]) -> Callable[..., Any]:
    def create(*arguments: Any, **named: Any) -> Any:
        app = create_app(*arguments, **named)
        app.add_url_rule("/aetitle/deadlock/<int:first>", view_func=hold_and_wait)
        return app

    return create


if __name__ == "__main__":
    times, own_bytes = int(sys.argv.pop(1)), watchdog.own_bytes
    watchdog.own_bytes = lambda pid: times * own_bytes(pid)
    shortened: Any = children
    shortened.SILENT_SECONDS = SILENT_SECONDS
    shortened.create_app = with_deadlock(shortened.create_app)
    watching: Any = supervisor
    watching.GrowthDetector = lambda: watchdog.GrowthDetector(look_seconds=0.5)
    sys.exit(main())
