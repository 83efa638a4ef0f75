"""Reasons why instances are not stored, in words of the catalogue. Runs in the web processes."""

from collections.abc import Mapping

from app.console.texts import Texts
from store.outcome import FailureReason, Outcome

REASONS: Mapping[int, str] = {
    FailureReason.PROCESSING_FAILURE: "upload_reason_processing",
    FailureReason.DUPLICATE_INSTANCE: "upload_reason_duplicate",
    FailureReason.CLASS_NOT_SUPPORTED: "upload_reason_class",
    FailureReason.NOT_AUTHORIZED: "upload_reason_right",
    FailureReason.OUT_OF_RESOURCES: "upload_reason_room",
    FailureReason.DOES_NOT_MATCH: "upload_reason_mismatch",
    FailureReason.CANNOT_UNDERSTAND: "upload_reason_not_understood",
    FailureReason.SYNTAX_NOT_SUPPORTED: "upload_reason_syntax",
}
"""The keys of the texts for reasons of failures (PS3.18 Table I.2-2)."""


def failure_words(texts: Texts, outcome: Outcome) -> str:
    """The reason of a failure, and its detail; a code that has no text as it is."""
    key = REASONS.get(int(outcome.failure or 0))
    return with_detail(getattr(texts, key), outcome.detail) if key else f"{outcome.failure or 0:04X}H: {outcome.detail}"


def with_detail(text: str, detail: str) -> str:
    """A text, and a detail if there is one."""
    return f"{text}: {detail}" if detail else text
