"""Reports as one HTML page: no script, no outside resource, and all text of the data set escaped.

The page has its own Content-Security-Policy, which forbids everything else, so it is safe under any origin.
"""

import base64
import hashlib
from collections.abc import Iterator
from html import escape
from itertools import groupby

from wado.rendering.report import Content, Report, ReportReference

_STYLE = """
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 56rem; margin: 0 auto; padding: 1rem 1.25rem 3rem; }
header { border-bottom: 2px solid #6b8cae; margin-bottom: 1rem; padding-bottom: .5rem; }
h1 { font-size: 1.6rem; margin: .25rem 0 .75rem; }
h2, h3, h4, h5, h6 { margin: 1.25rem 0 .25rem; line-height: 1.25; }
h2 { font-size: 1.3rem; } h3 { font-size: 1.1rem; } h4, h5, h6 { font-size: 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: 0; }
dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
section section { border-left: 2px solid #6b8cae55; padding-left: 1rem; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #8884; }
th { font-weight: 500; opacity: .8; } td { overflow-wrap: anywhere; }
p { margin: .25rem 0; white-space: pre-line; overflow-wrap: anywhere; }
.within { margin: 0 0 .25rem 1.25rem; } .cut { font-style: italic; }
@media print { body { max-width: none; } }
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"

_DEEPEST_HEADING = 6


def encode_html(report: Report, root: str) -> bytes:
    """The report in UTF-8; references are links below `root`."""
    return "".join(_page(report, root)).encode()


def _page(report: Report, root: str) -> Iterator[str]:
    title = escape(report.title)
    yield '<!DOCTYPE html>\n<html>\n<head>\n<meta charset="utf-8">\n'
    yield f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>\n<dl>\n"
    for label, words in report.facts:
        yield f"<dt>{escape(label)}</dt><dd>{escape(words)}</dd>\n"
    yield "</dl>\n</header>\n<main>\n"
    yield from _contents(report.contents, root, 2)
    if report.cut:
        yield '<p class="cut">The report has more content, which is not shown here.</p>\n'
    yield "</main>\n</body>\n</html>\n"


def _contents(contents: tuple[Content, ...], root: str, level: int) -> Iterator[str]:
    """Content items as HTML: a container is a section, and adjacent items without children are rows of a table."""
    for form, group in groupby(contents, key=_form):
        if form == "row":
            yield "<table>\n"
            for content in group:
                yield f"<tr><th scope=row>{escape(content.name)}</th><td>{_value(content, root)}</td></tr>\n"
            yield "</table>\n"
            continue
        for content in group:
            yield from _section(content, root, level) if form == "section" else _paragraph(content, root, level)


def _form(content: Content) -> str:
    if content.kind == "CONTAINER":
        return "section"
    return "paragraph" if content.contents or (content.kind == "TEXT" and _long(content)) else "row"


def _long(content: Content) -> bool:
    return len(content.value) > 120 or "\n" in content.value


def _section(content: Content, root: str, level: int) -> Iterator[str]:
    heading = min(level, _DEEPEST_HEADING)
    yield f"<section>\n<h{heading}>{escape(content.name or 'Content')}</h{heading}>\n"
    yield from _contents(content.contents, root, level + 1)
    yield "</section>\n"


def _paragraph(content: Content, root: str, level: int) -> Iterator[str]:
    label = f"<b>{escape(content.name)}</b>" + (":\n" if _long(content) else ": ") if content.name else ""
    yield f"<p>{label}{_value(content, root)}</p>\n"
    if content.contents:
        yield '<div class="within">\n'
        yield from _contents(content.contents, root, level)
        yield "</div>\n"


def _value(content: Content, root: str) -> str:
    links = "<br>".join(_link(reference, root) for reference in content.references)
    return "<br>".join(filter(None, (escape(content.value), links)))


def _link(reference: ReportReference, root: str) -> str:
    frames = f", frames {', '.join(map(str, reference.frame_numbers))}" if reference.frame_numbers else ""
    label = escape(reference.label + frames)
    if not reference.path:
        return label
    picture, instance = escape(root + reference.rendered_path), escape(root + reference.path)
    return f'<a href="{picture}">{label}</a> (<a href="{instance}">DICOM</a>)'
