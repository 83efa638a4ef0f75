"""Tables of results in Markdown, readable in a terminal and ready for bench/RESULTS.md."""

from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table with aligned columns; numbers are right-aligned."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(header, *cells, strict=True)]
    right = [bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(header))]
    lines = [
        header,
        [f"{'-' * (width - 1)}{':' if to else '-'}" for width, to in zip(widths, right, strict=True)],
        *cells,
    ]
    return "\n".join(
        "| "
        + " | ".join(
            cell.rjust(width) if to else cell.ljust(width) for cell, width, to in zip(line, widths, right, strict=True)
        )
        + " |"  # fmt: skip
        for line in lines
    )


def _text(value: object) -> str:
    return (
        f"{value:,.1f}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value).replace("|", "\\|")
    )
