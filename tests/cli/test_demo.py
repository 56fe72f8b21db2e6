import dataclasses
import re
import shutil
import subprocess

import jax.random as jr
import numpy as np
import pytest
from PIL import Image

import ellipsoid as el
from ellipsoid.cli import main
from ellipsoid.demo import DemoConfig, run_demo
from ellipsoid.models import AutoencoderConfig, TrainConfig, procedural_faces
from ellipsoid.report import load_report_inputs, write_report
from ellipsoid.report.chapters import CHAPTERS, autoencoder, ladder
from ellipsoid.runs import drawn_faces, read_metrics, recorded_images

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
GRIDS = {
    "attributes",
    "components_and_facts",
    "generated",
    "ladder",
    "laws",
    "nearest",
    "original_frame_images",
    "paths",
    "reconstructions",
    "traversals",
    "trial_1",
    "trial_2",
    "trial_3",
}

IMAGE_CHAPTERS = (
    "From noise to new images",
    "New images",
    "Walks through the latent space",
    "Attributes",
    "The autoencoder",
    "Nearest training images",
)


def demonstrate(out, chapters=CHAPTERS):
    """Run the demonstration in seconds; give its folder, its summary, and its report's inputs."""
    made_of = []
    config = dataclasses.replace(
        DemoConfig.small(),
        n_images=256,
        n_test=50,
        autoencoder=AutoencoderConfig(image_size=16, filters=(8, 16), latent_dim=4),
        training=TrainConfig(steps=200, batch_size=32, learning_rate=1e-2),
        flow_options={"steps": 40, "width": 16, "depth": 1, "n_steps": 8},
    )

    def recording(folder, inputs, **options):
        made_of.append(inputs)
        return write_report(folder, inputs, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ellipsoid.demo.write_report", recording)
        patch.setattr("ellipsoid.report.write.CHAPTERS", chapters)
        summary = run_demo(out, config, progress=False)
    return out, summary, made_of[0]


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory):
    """The demonstration, with two chapters in its report."""
    return demonstrate(tmp_path_factory.mktemp("demo") / "run", (ladder.ladder, autoencoder.autoencoder))


@pytest.fixture(scope="module")
def run(demonstration):
    return demonstration[:2]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The demonstration with its whole report."""
    return demonstrate(tmp_path_factory.mktemp("whole") / "run")[:2]


FILES = {
    "checkpoints",
    "config.json",
    "diagnostics.json",
    "diagnostics-components.csv",
    "diagnostics-pairs.csv",
    "directions.npz",
    "figures",
    "flow.npz",
    "latents.npy",
    "latents_test.npy",
    "metrics.jsonl",
    "mixture.npz",
    "recommendation.json",
    "report.html",
    "state.npz",
}


@pytest.mark.slow
def test_everything_lands_in_one_folder(run):
    out, summary = run
    assert {path.name for path in out.iterdir()} == FILES
    assert {path.stem for path in (out / "figures").iterdir()} == {
        "ladder",
        "reconstructions",
        "training",
    }
    page = (out / "report.html").read_text()
    assert summary["images"] in page
    for title in ("From noise to new images", "The autoencoder"):
        assert f"<h2>{title}</h2>" in page


@pytest.mark.slow
def test_every_figure_lands_in_the_folder(whole_run):
    out, _ = whole_run
    assert {path.name for path in out.iterdir()} == FILES
    names = {path.name for path in (out / "figures").iterdir()}
    assert {f"{name}.png" for name in GRIDS} <= names
    assert {"between_images.gif", "circle.gif", "calibration.png", "calibration.svg"} <= names


@pytest.mark.slow
def test_the_summary_says_what_was_measured(run):
    out, summary = run
    assert summary["inside"].startswith("100%")
    (share,) = (float(word[:-1]) for word in summary["test error"].split() if word.endswith("%"))
    assert 1 < share < 60
    state = el.PCAState.load(out / "state.npz")
    assert state.n_samples == 256
    assert np.load(out / "latents.npy").shape == (256, 4)


@pytest.mark.slow
def test_the_page_shows_the_summary_and_every_figure(whole_run):
    out, summary = whole_run
    page = (out / "report.html").read_text()
    pictures = [path for path in (out / "figures").iterdir() if path.suffix != ".svg"]
    assert page.count('<img src="data:image/') == len(pictures)
    assert summary["images"] in page
    for title in IMAGE_CHAPTERS:
        assert f"<h2>{title}</h2>" in page


@pytest.mark.slow
def test_the_folder_is_all_that_a_report_needs(demonstration):
    """The inputs that are read from the folder equal those of the demonstration's own report."""
    out, _, made_of = demonstration
    read = load_report_inputs(out)
    for name in ("mean", "components", "scale"):
        np.testing.assert_array_equal(getattr(read.state, name), getattr(made_of.state, name))
    np.testing.assert_array_equal(read.latents, made_of.latents)
    np.testing.assert_array_equal(read.images, made_of.images)
    np.testing.assert_array_equal(read.encode(made_of.images), made_of.encode(made_of.images))
    np.testing.assert_array_equal(read.decode(made_of.latents), made_of.decode(made_of.latents))
    assert read.history == made_of.history == read_metrics(out)
    np.testing.assert_array_equal(read.test_images, made_of.test_images)
    assert read.notes == ()
    assert read.directions == made_of.directions
    assert {"smiling", "long_hair"} <= set(read.directions)
    known = {image.tobytes() for image in made_of.images}
    assert not known & {image.tobytes() for image in made_of.test_images}


@pytest.mark.slow
def test_the_report_can_be_made_again(run, tmp_path):
    """The second report has all parts of the first."""
    out, summary = run
    again = tmp_path / "again"
    shutil.copytree(out, again)
    assert main(["report", str(again)]) == 0
    page = (again / "report.html").read_text()
    assert summary["time"] in page
    for title in IMAGE_CHAPTERS:
        assert f"<h2>{title}</h2>" in page


@pytest.mark.slow
def test_the_run_knows_its_images(run):
    drawn = procedural_faces(256, 16, key=jr.split(el.key(0), 3)[0]).images
    assert recorded_images(run[0]) == {"source": "demo", "n": 256, "n_test": 50, "seed": 0}
    np.testing.assert_array_equal(drawn_faces(256, 16, 0), drawn)


@pytest.mark.slow
def test_other_images_than_those_of_the_run_are_refused(run):
    with pytest.raises(ValueError, match="images: expected the training images of the run"):
        load_report_inputs(run[0], np.zeros((10, 16, 16, 3), np.uint8))


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [1200, 500])
def test_the_page_opens_in_a_browser(whole_run, tmp_path, width):
    """Every picture shows, nothing is wider than the window, and the browser reports no error."""
    out, _ = whole_run
    page = (out / "report.html").read_text()
    _, complaints = browse(out / "report.html", width, f"--screenshot={tmp_path / 'page.png'}")
    assert "CONSOLE" not in complaints
    assert len(np.unique(Image.open(tmp_path / "page.png").convert("L"))) > 50

    probe = re.sub(r"<meta http-equiv=[^>]*>", "", page).replace(
        "</body>",
        "<script>onload = () => { document.title = [...document.images].filter(i => !i.naturalWidth).length"
        " + ' missing of ' + document.images.length"
        " + (document.documentElement.scrollWidth > innerWidth ? ', too wide' : '') }</script></body>",
    )
    (tmp_path / "probe.html").write_text(probe)
    content, _ = browse(tmp_path / "probe.html", width, "--dump-dom")
    # Animations also have a still picture, for readers who want no motion.
    n_images = page.count('src="data:image/')
    assert f"<title>0 missing of {n_images}</title>" in content

    (tmp_path / "broken.html").write_text(
        probe.replace("data:image/gif;base64,", "data:image/gif;base64,AAAA")
    )
    content, _ = browse(tmp_path / "broken.html", width, "--dump-dom")
    assert "<title>2 missing of" in content


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_every_walk_has_a_slider_where_scripts_run(whole_run):
    out, _ = whole_run
    content, complaints = browse(out / "report.html", 1200, "--virtual-time-budget=5000", "--dump-dom")
    n_walks = len(list((out / "figures").glob("walk_*.webp")))
    assert n_walks > 4
    assert content.count('class="walk live"') == content.count('type="range"') == n_walks
    assert content.count('aria-valuetext="0.00 standard deviations"') == n_walks
    assert "CONSOLE" not in complaints


def browse(path, width, *options):
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    window = f"--window-size={width},3000"
    done = subprocess.run(
        [CHROMIUM, *arguments, window, *options, path.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize(("options", "size"), [([], DemoConfig.small), (["--full"], DemoConfig.full)])
def test_the_command_says_what_was_measured_and_where(tmp_path, monkeypatch, capsys, options, size):
    asked = []
    monkeypatch.setattr(
        "ellipsoid.demo.run_demo", lambda *given: asked.append(given) or {"test error": "0.1"}
    )
    assert main(["demo", "--out", str(tmp_path), "--seed", "3", *options]) == 0
    assert asked == [(tmp_path, size(3))]
    said = " ".join(capsys.readouterr().out.split())
    assert "│ test error │ 0.1 │" in said
    assert f"wrote {tmp_path}; open " in said
    assert "report.html in a browser" in said


@pytest.mark.slow
def test_it_does_not_overwrite(run):
    with pytest.raises(FileExistsError):
        run_demo(run[0], DemoConfig.small(), progress=False)
