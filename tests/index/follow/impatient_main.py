"""The program, for which a message in hand is hidden for seconds, not minutes: a test kills it again and again."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from app.commands.command_line import end, main  # noqa: E402
from index.follow import queue, queue_follower  # noqa: E402

for module in (queue, queue_follower):
    module.HIDDEN_SECONDS = 4  # type: ignore[attr-defined]
queue_follower._KEEP_SECONDS = 1.0

if __name__ == "__main__":
    end(main())
