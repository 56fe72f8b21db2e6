import base64
import json
import re
import shutil
from html.parser import HTMLParser

import pytest
from matplotlib.figure import Figure

from ellipsoid import report
from ellipsoid.figures import save
from ellipsoid.report import Section, rebuild, write_report

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


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


def write_example(run):
    drawing = save(small_figure(), run / "figures" / "drawing.svg")
    return write_report(
        run,
        title="Faces & more",
        summary=[("Images", 20_000), ("Level", 1.645)],
        sections=[
            Section("New faces", "First paragraph.\n\nSecond paragraph.", [(small_figure(), "A line")]),
            Section("Curves", figures=[(str(drawing), "The same as a drawing")]),
            Section("Words only", "Some text."),
        ],
    )


def test_page_holds_all_it_was_given(run):
    path = write_example(run)
    assert path == run / "report.html"
    page = Page(path)
    for text in (
        "Faces & more",
        "Images",
        "20000",
        "1.645",
        "First paragraph.",
        "Second paragraph.",
        "Some text.",
    ):
        assert text in page.text
    first, second = page.all("img")
    assert (first["alt"], second["alt"]) == ("A line", "The same as a drawing")
    kind, content = first["src"].split(",")
    assert kind == "data:image/png;base64"
    (png,) = (run / "figures").glob("*.png")
    assert png.name == "01-new-faces-1.png"
    assert base64.b64decode(content) == png.read_bytes()
    kind, content = second["src"].split(",")
    assert kind == "data:image/svg+xml;base64"
    assert base64.b64decode(content) == (run / "figures" / "drawing.svg").read_bytes()


def test_page_needs_nothing_from_outside(run):
    path = write_example(run)
    page = Page(path)
    targets = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href")
    ]
    assert len(targets) == 6
    assert all(re.match(r"data:|#", target) for target in targets)
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {target[1:] for target in targets if target.startswith("#")} == ids
    style = path.read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|url\(|@import", style)
    assert not page.all("script")
    assert "prefers-color-scheme: dark" in style
    assert any(attributes.get("name") == "viewport" for attributes in page.all("meta"))


def test_what_comes_from_users_is_escaped(run):
    image = save(small_figure(), run / "image.png")
    section = Section(HOSTILE, HOSTILE, [(image, HOSTILE), (small_figure(), "made here")])
    page = Page(write_report(run, title=HOSTILE, summary=[(HOSTILE, HOSTILE)], sections=[section] * 3))
    assert not page.all("script")
    assert page.all("img")[0]["alt"] == HOSTILE
    # Title twice; label and value; and for each section a link, a heading, a paragraph and a caption.
    assert page.text.count(HOSTILE) == 2 + 2 + 3 * 4


def test_rebuild_gives_the_same_page_from_a_folder_that_was_moved(run, tmp_path):
    expected = write_example(run).read_bytes()
    moved = tmp_path / "elsewhere"
    shutil.move(run, moved)
    (moved / "report.html").unlink()
    assert rebuild(moved) == moved / "report.html"
    assert (moved / "report.html").read_bytes() == expected


def test_rebuild_shows_changed_figures(run):
    write_example(run)
    new = save(Figure(figsize=(2, 2)), run / "figures" / "drawing.svg").read_bytes()
    page = Page(rebuild(run))
    assert base64.b64decode(page.all("img")[1]["src"].split(",")[1]) == new


def test_relative_run_folder(run, monkeypatch):
    monkeypatch.chdir(run.parent)
    path = write_report(
        "run", title="Here", summary=[], sections=[Section("One", "", [(small_figure(), "A line")])]
    )
    assert str(path) == "run/report.html"
    assert Page(path).all("img")
    assert not Page(path).all("table")


def test_files_are_replaced_only_by_complete_ones(run, monkeypatch):
    old = write_example(run).read_bytes()
    missing = Section("Broken", "", [(run / "missing.png", "Nothing")])
    with pytest.raises(FileNotFoundError, match=r"expected the figure missing.png"):
        write_report(run, title="New", summary=[], sections=[missing])
    description = (run / "report.json").read_bytes()
    assert json.loads(description)["title"] == "Faces & more"
    assert (run / "report.html").read_bytes() == old

    seen = []
    monkeypatch.setattr(report, "replace_file", lambda path, content: seen.append(path.name))
    write_report(run, title="New", summary=[], sections=[])
    assert seen == ["report.json", "report.html"]
    assert sorted(path.name for path in run.iterdir()) == ["figures", "report.html", "report.json"]


def test_run_folder_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="run: expected the folder of a run; there is no folder"):
        rebuild(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="run: expected the folder of a run"):
        write_report(tmp_path / "nowhere", title="", summary=[], sections=[])
    with pytest.raises(FileNotFoundError, match=r"run: expected a finished run with a report.json"):
        rebuild(tmp_path)


def test_figures_must_lie_in_the_run_folder(run, tmp_path):
    outside = save(small_figure(), tmp_path / "outside.png")
    for figure in (outside, run / ".." / "outside.png"):
        with pytest.raises(ValueError, match="sections: expected figures inside the run folder"):
            write_report(run, title="", summary=[], sections=[Section("One", "", [(figure, "")])])
    write_example(run)
    path = run / "report.json"
    path.write_text(path.read_text().replace("figures/drawing.svg", "../outside.png"))
    with pytest.raises(ValueError, match="sections: expected figures inside the run folder"):
        rebuild(run)


def test_figures_must_be_pictures(run):
    (run / "notes.txt").write_text("secret")
    with pytest.raises(ValueError, match=r"sections: expected figures of type .png, .*; got notes.txt"):
        write_report(run, title="", summary=[], sections=[Section("One", "", [(run / "notes.txt", "")])])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\xfa",
        b"[]",
        b"{}",
        b'{"format": "ellipsoid.report", "format_version": 1}',
        b'{"format": "ellipsoid.report", "format_version": 1, "title": "", "summary": [1], "sections": []}',
        b'{"format": "ellipsoid.report", "format_version": 1, "title": "", "summary": [], "sections": [1]}',
    ],
)
def test_damaged_description(run, content):
    (run / "report.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"run: .*report.json cannot be read as a report") as caught:
        rebuild(run)
    assert "\n" not in str(caught.value)


def test_description_of_another_version(run):
    write_example(run)
    description = json.loads((run / "report.json").read_text())
    (run / "report.json").write_text(json.dumps(description | {"format_version": 2}))
    with pytest.raises(ValueError, match=r"run: expected ellipsoid.report of version 1; got .*2\)"):
        rebuild(run)
