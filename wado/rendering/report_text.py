"""Reports as plain text: headings underlined, content indented, lines of 78 characters."""

import textwrap
from collections.abc import Iterator

from wado.rendering.report import Content, Report, ReportReference

_WIDTH = 78
_INDENT = "  "
_MAX_INDENT = 12


def encode_text(report: Report, root: str) -> bytes:
    """The report in UTF-8; references are URLs below `root`."""
    return "\n".join(_lines(report, root)).encode() + b"\n"


def _lines(report: Report, root: str) -> Iterator[str]:
    title = report.title.replace("\n", " ")
    yield from (title, "=" * min(len(title), _WIDTH), "")
    width = max((len(label) for label, _ in report.facts), default=0) + 2
    for label, words in report.facts:
        yield from _wrapped(words, f"{label}:".ljust(width), " " * width)
    for content in report.contents:
        yield from _content(content, root, 0)
    if report.cut:
        yield from ("", "[The report has more content, which is not shown here.]")


def _content(content: Content, root: str, depth: int) -> Iterator[str]:
    indent = _INDENT * min(depth, _MAX_INDENT)
    if content.kind == "CONTAINER":
        heading = content.name or "Content"
        yield from ("", f"{indent}{heading}", f"{indent}{'-' * min(len(heading), _WIDTH)}")
    else:
        label = f"{content.name}: " if content.name else ""
        paragraphs = [line for line in content.value.split("\n") if line.strip()] or [""]
        if len(paragraphs) > 1 or label or paragraphs[0]:
            yield from _wrapped(label + paragraphs[0], indent, indent + _INDENT)
        for paragraph in paragraphs[1:]:
            yield from _wrapped(paragraph, indent + _INDENT, indent + _INDENT)
    for reference in content.references:
        yield f"{indent}{_INDENT}{_reference(reference, root)}"
    for inner in content.contents:
        yield from _content(inner, root, depth + 1)


def _reference(reference: ReportReference, root: str) -> str:
    frames = f", frames {', '.join(map(str, reference.frame_numbers))}" if reference.frame_numbers else ""
    return f"[{reference.label}{frames}]" + (f" {root}{reference.rendered_path}" if reference.path else "")


def _wrapped(words: str, first: str, others: str) -> list[str]:
    lines = textwrap.wrap(words, _WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=False)
    return lines or [first]
