"""The one-page report of a run: a self-contained HTML file that opens without a network.

What the page says lies in ``report.json`` beside it, with figures as files in the run folder, so that
:func:`rebuild` can make the page again from the folder alone, wherever that has been moved.
"""

import base64
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from ellipsoid.figures import save
from ellipsoid.files import replace_file

_FORMAT = "ellipsoid.report"
_FORMAT_VERSION = 1
_MEDIA_TYPES = {
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".gif": "image/gif",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
}

_DAMAGE = (
    json.JSONDecodeError,
    UnicodeDecodeError,
    LookupError,
    TypeError,
    AttributeError,
    jinja2.UndefinedError,
)


@dataclass(frozen=True)
class Section:
    """A heading with text and figures below it.

    Attributes
    ----------
    title : str
    text : str
        Plain text; an empty line starts a new paragraph.
    figures : sequence of (figure, caption)
        A matplotlib figure, which is saved to ``figures/`` in the run folder, or the path of a PNG, SVG, GIF
        or JPEG file inside the run folder. The caption also tells what is seen to those who cannot see it.
    """

    title: str
    text: str = ""
    figures: Sequence[tuple[Figure | str | os.PathLike[str], str]] = ()


def write_report(
    run: str | os.PathLike[str],
    *,
    title: str,
    summary: Sequence[tuple[str, Any]],
    sections: Sequence[Section],
) -> Path:
    """Write ``report.json`` and ``report.html`` into a run folder, each completely or not at all.

    Parameters
    ----------
    run : path
        Folder of the run.
    title : str
    summary : sequence of (label, value)
        Shown as a table at the top, values by ``str``.
    sections : sequence of Section

    Returns
    -------
    Path
        The page, ``report.html``: images and style inside, no script.

    Raises
    ------
    FileNotFoundError
        If the run folder or a figure's file does not exist.
    ValueError
        If a figure's file lies outside of the run folder or is of a type that browsers do not show.
    """
    run = _run_folder(run)
    described = []
    for number, section in enumerate(sections, 1):
        figures = []
        for index, (figure, caption) in enumerate(section.figures, 1):
            if isinstance(figure, Figure):
                slug = re.sub(r"\W+", "-", section.title.lower())[:40].strip("-")
                figure = save(figure, run / "figures" / f"{number:02d}-{slug}-{index}.png")
            path = _inside(run, Path(figure)).relative_to(run.resolve())
            figures.append({"path": path.as_posix(), "caption": caption})
        described.append({"title": section.title, "text": section.text, "figures": figures})
    report = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "title": title,
        "summary": [{"label": label, "value": str(value)} for label, value in summary],
        "sections": described,
    }
    page = _render(run, report)
    replace_file(run / "report.json", json.dumps(report, indent=1, ensure_ascii=False).encode())
    return _publish(run, page)


def rebuild(run: str | os.PathLike[str]) -> Path:
    """Make ``report.html`` again from ``report.json`` and the figures in a run folder.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    FileNotFoundError
        If the run folder, its ``report.json`` or a figure's file does not exist.
    ValueError
        If ``report.json`` is damaged, or of another format version.
    """
    run = _run_folder(run)
    path = run / "report.json"
    if not path.exists():
        raise FileNotFoundError(f"run: expected a finished run with a report.json; there is none in {run}")
    try:
        report = json.loads(path.read_bytes())
        found = report["format"], report["format_version"]
        if found == (_FORMAT, _FORMAT_VERSION):
            return _publish(run, _render(run, report))
    except _DAMAGE as error:
        raise ValueError(f"run: {path} cannot be read as a report: {error!r}") from error
    raise ValueError(f"run: expected {_FORMAT} of version {_FORMAT_VERSION}; got {found} in {path}")


def _run_folder(run: str | os.PathLike[str]) -> Path:
    path = Path(run)
    if not path.is_dir():
        raise FileNotFoundError(f"run: expected the folder of a run; there is no folder {run}")
    return path


def _inside(run: Path, path: Path) -> Path:
    """Resolve the path of a figure, which has to lie in the run folder: a folder can be moved as a whole."""
    resolved = path.resolve()
    # This also keeps a report.json that comes from elsewhere from putting other files into the page.
    if not resolved.is_relative_to(run.resolve()):
        raise ValueError(f"sections: expected figures inside the run folder {run}; got {path}")
    return resolved


def _publish(run: Path, page: str) -> Path:
    path = run / "report.html"
    replace_file(path, page.encode())
    return path


def _render(run: Path, report: dict[str, Any]) -> str:
    sections = [
        {
            "title": section["title"],
            "paragraphs": re.split(r"\n\s*\n", section["text"].strip()) if section["text"].strip() else [],
            "figures": [
                {"source": _data_uri(run, figure["path"]), "caption": figure["caption"]}
                for figure in section["figures"]
            ],
        }
        for section in report["sections"]
    ]
    return _template().render(title=report["title"], summary=report["summary"], sections=sections)


def _data_uri(run: Path, relative: str) -> str:
    path = _inside(run, run / relative)
    media_type = _MEDIA_TYPES.get(path.suffix.lower())
    if media_type is None:
        raise ValueError(f"sections: expected figures of type {', '.join(_MEDIA_TYPES)}; got {relative}")
    if not path.is_file():
        raise FileNotFoundError(f"sections: expected the figure {relative} in {run}; there is no such file")
    return f"data:{media_type};base64,{base64.b64encode(path.read_bytes()).decode()}"


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("ellipsoid"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("report.html")
