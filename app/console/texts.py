"""Every word that a person reads in the console: one key each, English first. Runs in the web processes.

Templates say `{{ t.error_back }}`, or `{{ t("error_wait", seconds=5) }}` for a text with places to fill in. Scripts get
their texts from `data-` attributes. `tests/app/console/test_texts.py` finds words in templates that are not from here.
"""

from collections.abc import Mapping

FRAME: Mapping[str, str] = {
    "product": "AHI DICOMweb Proxy",
    "skip": "Skip to the content",
    "navigation": "Pages",
    "navigation_worklist": "Work list",
    "navigation_upload": "Upload",
    "navigation_jobs": "Jobs",
    "navigation_status": "Status",
    "navigation_access": "Access",
    "signed_in_as": "Signed in as",
}

ERRORS: Mapping[str, str] = {
    "error_back": "Back to the work list",
    "error_again": "Try again",
    "error_wait": "Try again in {seconds} seconds.",
    "error_400_title": "This request cannot be understood",
    "error_400_advice": "Check the address, or go back and try again.",
    "error_401_title": "You are not signed in",
    "error_401_advice": "Sign in, then open the page again.",
    "error_403_title": "You have no right to this",
    "error_403_advice": "Ask the people who run this service if you need it.",
    "error_404_title": "There is no such page",
    "error_404_advice": "It may have been removed, or it may not be yours to see.",
    "error_405_title": "This page cannot do that",
    "error_405_advice": "Go back and try again from there.",
    "error_409_title": "Something else has changed this",
    "error_409_advice": "Open the page again to see what it is now.",
    "error_413_title": "This is too large",
    "error_413_advice": "Send less at once.",
    "error_429_title": "Too many requests",
    "error_429_advice": "Wait a moment. The service answers everybody in turn.",
    "error_500_title": "Something went wrong here",
    "error_500_advice": "The log of the service says more. Its operators can find it by the time.",
    "error_502_title": "AWS HealthImaging gave an answer that cannot be used",
    "error_502_advice": "The log of the service says more.",
    "error_503_title": "The service cannot answer now",
    "error_503_advice": "Something that it depends on is away. It tries again by itself.",
}

LOGIN: Mapping[str, str] = {}

WORKLIST: Mapping[str, str] = {}

STUDY: Mapping[str, str] = {}

LOOK: Mapping[str, str] = {}

UPLOAD: Mapping[str, str] = {}

JOBS: Mapping[str, str] = {}

STATUS: Mapping[str, str] = {}

ACCESS: Mapping[str, str] = {}

SECTIONS = (FRAME, ERRORS, LOGIN, WORKLIST, STUDY, LOOK, UPLOAD, JOBS, STATUS, ACCESS)
"""The texts of each part. A key begins with the name of its part, so that no two parts have the same."""


class Texts:
    """The catalogue: a text by its key, as an attribute or by a call."""

    def __init__(self, sections: tuple[Mapping[str, str], ...] = SECTIONS) -> None:
        self._texts = {key: text for section in sections for key, text in section.items()}

    def __getattr__(self, key: str) -> str:
        """The text; AttributeError if there is none, which is a mistake in a template."""
        try:
            return self._texts[key]
        except KeyError:
            raise AttributeError(f"no text: {key}") from None

    def __call__(self, key: str, **values: object) -> str:
        """The text with values in its places; KeyError if there is none, or a value is missing."""
        return self._texts[key].format(**values)
