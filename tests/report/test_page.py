import base64
import hashlib
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ellipsoid.figures import save, save_animation, save_sheet
from ellipsoid.report import page
from ellipsoid.report.page import Section, Walk, write_page

HOSTILE = "<script>alert(\"1\")</script> & 'more'"


def small_figure():
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([0, 1])
    return figure


class Page(HTMLParser):
    """Tags with their attributes, and all text outside of style."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.text, self._in_style = [], [], False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"

    def handle_endtag(self, tag):
        self._in_style = False

    def handle_data(self, data):
        if not self._in_style and data.strip():
            self.text.append(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def write_example(folder):
    plot = save(small_figure(), folder / "figures" / "plot.png")
    drawing = save(small_figure(), folder / "figures" / "drawing.svg")
    return write_page(
        folder / "report.html",
        title="Faces & more",
        lead="All is well.\n\nNearly.",
        warnings=["Few images"],
        remarks=["One of two", "Two of two"],
        summary=[("Images", 20_000), ("Level", 1.645)],
        sections=[
            Section("New faces", "First paragraph.\n\nSecond paragraph.", [(plot, "A line", "Chart of y")]),
            Section("Curves", pictures=[(str(drawing), "The same as a drawing")]),
            Section("Words only", "Some text.", table=[("goal", "level"), ("fidelity", "1.41")]),
        ],
    )


def test_page_holds_all_it_was_given(tmp_path):
    path = write_example(tmp_path)
    assert path == tmp_path / "report.html"
    page = Page(path)
    for text in (
        "Faces & more",
        "All is well.",
        "Nearly.",
        "Few images",
        "One of two",
        "Two of two",
        "Images",
        "20000",
        "1.645",
        "First paragraph.",
        "Second paragraph.",
        "Some text.",
        "A line",
        "fidelity",
        "1.41",
    ):
        assert text in page.text
    first, second = page.all("img")
    assert (first["alt"], second["alt"]) == ("Chart of y", "")  # the caption is read anyway
    for image, kind, name in ((first, "png", "plot.png"), (second, "svg+xml", "drawing.svg")):
        announced, content = image["src"].split(",")
        assert announced == f"data:image/{kind};base64"
        assert base64.b64decode(content) == (tmp_path / "figures" / name).read_bytes()


def test_page_needs_nothing_from_outside(tmp_path):
    path = write_example(tmp_path)
    page = Page(path)
    targets = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert len(targets) == 6 + 2 * 2  # each figure opens and closes
    assert all(re.match(r"data:|#", target) for target in targets)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {target[1:] for target in targets if target.startswith("#")} == ids
    style = path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|url\(|@import", style)
    assert not page.all("script")
    assert "prefers-color-scheme: dark" in style
    assert any(attributes.get("name") == "viewport" for attributes in page.all("meta"))


def test_what_comes_from_users_is_escaped(tmp_path):
    image = save(small_figure(), tmp_path / "image.png")
    page = Page(
        write_page(
            tmp_path / "report.html",
            title=HOSTILE,
            lead=HOSTILE,
            warnings=[HOSTILE],
            remarks=[HOSTILE],
            summary=[(HOSTILE, HOSTILE)],
            sections=[Section(HOSTILE, HOSTILE, [(image, HOSTILE, HOSTILE)])] * 3,
        )
    )
    assert not page.all("script")
    assert page.all("img")[0]["alt"] == HOSTILE
    # The title occurs twice; then lead, warning, remark; label and value; and a link, heading, text and
    # caption for each section.
    assert page.text.count(HOSTILE) == 2 + 3 + 2 + 3 * 4


def test_terms_are_explained_once_where_they_come_first(tmp_path):
    """A term in any form is explained once; hostile text and longer words are no terms."""
    page = Page(
        write_page(
            tmp_path / "report.html",
            title="Levels",
            lead="Latents at level 2, & <latents>.",
            sections=[Section("Ellipses", "Confidence ellipses at a level; a by-law of sub-latents.")],
        )
    )
    links = [attributes["href"] for attributes in page.all("a") if attributes.get("class") == "term"]
    assert links == ["#term-latents", "#term-level", "#term-confidence-ellipse"]
    anchors = [attributes["id"] for attributes in page.all("dt")]
    assert anchors == ["term-latents", "term-level", "term-confidence-ellipse"]
    assert not page.all("latents")


def test_animations_stand_still_for_whoever_asks_for_less_motion(tmp_path):
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    frames[0, :, :, 0] = 255
    animation = save_animation(frames, tmp_path / "walk.gif")
    walks = Section("Walks", "", [(animation, "A walk")])
    page = Page(write_page(tmp_path / "report.html", title="", sections=[walks]))
    (still,) = page.all("source")
    assert still["media"] == "(prefers-reduced-motion: reduce)"
    content = base64.b64decode(still["srcset"].removeprefix("data:image/png;base64,"))
    first = Image.open(io.BytesIO(content))
    assert first.n_frames == 1
    assert first.getpixel((0, 0)) == (255, 0, 0)


def test_a_page_replaces_another_only_when_it_is_complete(tmp_path, monkeypatch):
    old = write_example(tmp_path).read_bytes()
    missing = Section("Broken", "", [(tmp_path / "missing.png", "Nothing")])
    with pytest.raises(FileNotFoundError, match=r"sections: expected pictures that exist; got .*missing.png"):
        write_page(tmp_path / "report.html", title="New", sections=[missing])
    assert (tmp_path / "report.html").read_bytes() == old

    seen = []
    monkeypatch.setattr(page, "replace_file", lambda path, content: seen.append(path.name))
    write_page(tmp_path / "report.html", title="New")
    assert seen == ["report.html"]


def test_walks_have_the_one_script_that_may_run(tmp_path):
    sheet = save_sheet(np.zeros((6, 8, 8)), tmp_path / "sheet.webp", columns=3)
    section = Section(
        "Walk", table=[("name", "AUC"), (HOSTILE, "0.9")], walks=[Walk(sheet, HOSTILE, "Black", 2, 3, -1, 1)]
    )
    path = write_page(tmp_path / "report.html", title="Walks", sections=[section])
    page = Page(path)
    assert page.all("script") == [{}]
    script = re.search("<script>(.*)</script>", path.read_text(encoding="utf-8"), re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = (tag["content"] for tag in page.all("meta") if "http-equiv" in tag)
    assert policy.split("; ") == [
        "default-src 'none'",
        "img-src data:",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{digest}'",
    ]
    (figure,) = page.all("figure")
    assert {name: figure[f"data-{name}"] for name in ("label", "rows", "columns", "low", "high")} == {
        "label": HOSTILE,
        "rows": "2",
        "columns": "3",
        "low": "-1",
        "high": "1",
    }
    assert page.all("img")[0]["alt"] == "Black"
    assert HOSTILE in page.text
    assert not Page(write_page(tmp_path / "none.html", title="None")).all("script")


def test_short_pages(tmp_path):
    page = Page(write_page(tmp_path / "report.html", title="Here"))
    for tag in ("table", "nav", "ul", "img"):
        assert not page.all(tag)


def test_the_folder_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path: expected a file in a folder that exists; got .*re"):
        write_page(tmp_path / "nowhere" / "report.html", title="")


def test_pictures_must_be_pictures(tmp_path):
    (tmp_path / "notes.txt").write_text("secret")
    with pytest.raises(ValueError, match=r"sections: expected pictures of type .png, .*; got notes.txt"):
        write_page(
            tmp_path / "report.html", title="", sections=[Section("One", "", [(tmp_path / "notes.txt", "")])]
        )
