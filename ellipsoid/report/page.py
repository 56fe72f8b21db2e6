"""A self-contained page of words and pictures: an HTML file that opens without a network."""

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from ellipsoid.files import replace_file

_MEDIA_TYPES = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}


@dataclass(frozen=True)
class Section:
    """A heading with text and pictures below it.

    Attributes
    ----------
    title : str
    text : str
        Plain text; an empty line starts a new paragraph.
    pictures : sequence of (path, caption)
        PNG, SVG, GIF or JPEG files. The caption also tells what is seen to those who cannot see it.
    """

    title: str
    text: str = ""
    pictures: Sequence[tuple[str | os.PathLike[str], str]] = ()


def write_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    lead: str = "",
    warnings: Sequence[str] = (),
    remarks: Sequence[str] = (),
    summary: Sequence[tuple[str, Any]] = (),
    sections: Sequence[Section] = (),
) -> Path:
    """Write a page, completely or not at all.

    Parameters
    ----------
    path : path
        The HTML file.
    title : str
    lead : str
        What a reader should know who reads one paragraph only.
    warnings, remarks : sequences of str
        Set apart below it, and listed.
    summary : sequence of (label, value)
        Shown as a table, values by ``str``.
    sections : sequence of Section

    Returns
    -------
    Path
        The file: images and style inside, no script.

    Raises
    ------
    FileNotFoundError
        If the folder of the page, or the file of a picture, does not exist.
    ValueError
        If a picture is of a type that browsers do not show.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: expected a place for the page; there is no folder {path.parent}")
    page = _template().render(
        title=title,
        lead=_paragraphs(lead),
        warnings=warnings,
        remarks=remarks,
        summary=summary,
        sections=[
            {
                "title": section.title,
                "paragraphs": _paragraphs(section.text),
                "pictures": [(_data_uri(Path(picture)), caption) for picture, caption in section.pictures],
            }
            for section in sections
        ],
    )
    replace_file(path, page.encode())
    return path


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n\s*\n", text.strip()) if text.strip() else []


def _data_uri(picture: Path) -> str:
    media_type = _MEDIA_TYPES.get(picture.suffix.lower())
    if media_type is None:
        raise ValueError(f"sections: expected pictures of type {', '.join(_MEDIA_TYPES)}; got {picture.name}")
    if not picture.is_file():
        raise FileNotFoundError(f"sections: expected a picture {picture}; there is no such file")
    return f"data:{media_type};base64,{base64.b64encode(picture.read_bytes()).decode()}"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ellipsoid.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("page.html")
