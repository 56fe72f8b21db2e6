"""A self-contained page of text and pictures: an HTML file that opens without a network."""

import base64
import hashlib
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from ellipsoid.files import replace_file
from ellipsoid.report.glossary import explained, linked

_MEDIA_TYPES = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
}


#: Picture file with its caption and an optional description for readers who cannot see it.
Picture = tuple[str | os.PathLike[str], str] | tuple[str | os.PathLike[str], str, str]


@dataclass(frozen=True)
class Walk:
    """A sheet of images that the page shows column by column, by the position of a slider.

    Without scripts, and in print, the page shows the whole sheet.

    Attributes
    ----------
    sheet : path
        Image file with rows and columns of images, without gaps.
    label : str
        Name of the slider: the quantity that changes along it.
    caption : str
        Text below the sheet, and its description for readers who cannot see it.
    rows, columns : int
        Numbers of rows and columns of the sheet.
    low, high : float
        Values of the first and the last column, in standard deviations.
    """

    sheet: str | os.PathLike[str]
    label: str
    caption: str
    rows: int
    columns: int
    low: float
    high: float


@dataclass(frozen=True)
class Section:
    """A heading with text and pictures below it.

    Attributes
    ----------
    title : str
        Heading of the section.
    text : str
        Plain text; an empty line starts a new paragraph.
    pictures : sequence of (path, caption) or (path, caption, alt)
        PNG, SVG, GIF, JPEG or WebP files with captions. The third entry describes the picture for readers
        who cannot see it.
    table : sequence of rows of str
        Table below the text. Its first row names the columns.
    walks : sequence of Walk
        Sheets with sliders, below the pictures.
    """

    title: str
    text: str = ""
    pictures: Sequence[Picture] = ()
    table: Sequence[Sequence[str]] = ()
    walks: Sequence[Walk] = ()


def write_page(
    path: str | os.PathLike[str],
    *,
    title: str,
    lead: str = "",
    warnings: Sequence[str] = (),
    remarks: Sequence[str] = (),
    summary: Sequence[tuple[str, Any]] = (),
    sections: Sequence[Section] = (),
    provenance: Sequence[tuple[str, str]] = (),
) -> Path:
    """Write a page, completely or not at all.

    Parameters
    ----------
    path : path
        The HTML file.
    title : str
        Heading of the page.
    lead : str
        First paragraphs of the page: the result in short.
    warnings, remarks : sequences of str
        Paragraphs below the lead: warnings are highlighted, and remarks form a list.
    summary : sequence of (label, value)
        Rows of a table. Values are shown as by ``str``.
    sections : sequence of Section
        Sections of the page, in this order.
    provenance : sequence of (label, text)
        Lines at the end of the page about its origin.

    Returns
    -------
    Path
        The file. It contains all images and styles, and a script if there are walks.

    Raises
    ------
    FileNotFoundError
        If the folder of the page, or the file of a picture, does not exist.
    OSError
        If the page cannot be written.
    ValueError
        If a picture is of a type that browsers do not show.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> path = write_page(f"{folder}/report.html", title="Faces", sections=[Section("New faces", "All new.")])
    >>> "<h2>New faces</h2>" in path.read_text()
    True
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"path: expected a file in a folder that exists; got {path}")
    script = _environment().get_template("walks.js").render() if any(s.walks for s in sections) else ""
    seen: set[str] = set()
    page = (
        _environment()
        .get_template("page.html")
        .render(
            script=script,
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
            title=title,
            lead=linked(_paragraphs(lead), seen),
            warnings=linked(warnings, seen),
            remarks=linked(remarks, seen),
            summary=summary,
            sections=[
                {
                    "title": section.title,
                    "paragraphs": linked(_paragraphs(section.text), seen),
                    "pictures": [_shown(Path(path), *words) for path, *words in section.pictures],
                    "table": section.table,
                    "walks": [(_data_uri(Path(walk.sheet)), walk) for walk in section.walks],
                }
                for section in sections
            ],
            terms=explained(seen),
            provenance=provenance,
        )
    )
    replace_file(path, page.encode())
    return path


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n\s*\n", text.strip()) if text.strip() else []


def _shown(picture: Path, caption: str, alt: str = "") -> dict[str, str]:
    shown = {"source": _data_uri(picture), "still": "", "caption": caption, "alt": alt}
    if picture.suffix.lower() == ".gif":
        first = io.BytesIO()
        with Image.open(picture) as animation:
            animation.convert("RGB").save(first, "PNG")
        shown["still"] = _as_uri("image/png", first.getvalue())
    return shown


def _data_uri(picture: Path) -> str:
    media_type = _MEDIA_TYPES.get(picture.suffix.lower())
    if media_type is None:
        raise ValueError(f"sections: expected pictures of type {', '.join(_MEDIA_TYPES)}; got {picture.name}")
    if not picture.is_file():
        raise FileNotFoundError(f"sections: expected pictures that exist; got {picture}")
    return _as_uri(media_type, picture.read_bytes())


def _as_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("ellipsoid.report"), autoescape=True, undefined=jinja2.StrictUndefined
    )
