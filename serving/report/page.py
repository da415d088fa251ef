"""A report as one HTML page that needs nothing beside it: no script, no font, no other file."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from string import Template

__all__ = ["page", "table"]

_HERE = Path(__file__).parent


def page(
    command: str, title: str, facts: Iterable[tuple[str, str]], main: Path, **parts: object
) -> str:
    """The report that a command writes: its title, its `facts` as tiles (name, value), and the
    sections of the template `main` with `parts`, which are HTML already."""
    tiles = "".join(f"<div><dt>{what}</dt><dd>{escape(how)}</dd></div>" for what, how in facts)
    sections = Template(main.read_text(encoding="utf-8")).substitute(parts)
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        command=command,
        title=escape(title),
        tiles=tiles,
        main=sections,
    )


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of cells that are HTML already; the first of each row is its heading."""
    head = "".join(f'<th scope="col">{heading}</th>' for heading in headings)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for first, *cells in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
