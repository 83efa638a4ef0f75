"""The lines that the program logs are found in its code. `test_documents` holds the documents to them."""

import ast

from tests.log_lines import LEVELS, SOURCES, calls_of_methods, logged


def test_all_loggers_have_one_name() -> None:
    """So that all calls are found."""
    owners = {
        owner for source in SOURCES.values() for _, owner, name in calls_of_methods(ast.parse(source)) if name in LEVELS
    }
    assert owners == {"log"}


def test_texts_are_found_through_functions_that_log_them() -> None:
    source = """
_FULL, _OTHER = "x", "y"
_BAD = "bad: %s"
class One:
    def pause(self, why): self.warn(why)
    def warn(self, why): log.warning("%s; said once", why)
    def work(self):
        self.pause(f"full {self}")
        self.warn(_BAD % 1 if self else "other")
        log.error("%s is away after=%.1fs", self.name, 2)
        log.exception("no")
        log.error("no", exc_info=True)
"""
    assert sorted(logged(source)) == [
        ("ERROR", "… is away after=…s"),
        ("WARNING", "bad: …; said once"),
        ("WARNING", "full …; said once"),
        ("WARNING", "other; said once"),
    ]
