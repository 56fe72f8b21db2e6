"""Small HTML tables for notebooks."""

from collections.abc import Iterable
from html import escape


def table_of_rows(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Return names and values as an HTML table below a title; all texts are escaped.

    Examples
    --------
    >>> table_of_rows("Scale", [("least", "<1")])
    '<table><caption>Scale</caption><tr><th scope="row">least</th><td>&lt;1</td></tr></table>'
    """
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>' for name, value in rows
    )
    return f"<table><caption>{escape(title)}</caption>{lines}</table>"


def preformatted(text: str) -> str:
    """Return text as HTML that keeps its lines."""
    return f"<pre>{escape(text)}</pre>"
