import dataclasses
import json
import re
from itertools import combinations

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.advice import advise
from ellipsoid.cli import main
from ellipsoid.report import ReportInputs, load_report_inputs, write, write_report
from ellipsoid.report.chapters.pairs import ellipses
from ellipsoid.runs import RunFolder, record_images

DRAWINGS = {
    "angles",
    "calibration",
    "comparison",
    "component_statistics",
    "components_original",
    "components_pca",
    "contours_original",
    "contours_pca",
    "correlations",
    "dependence",
    "dependent_pairs",
    "dimension_statistics",
    "distances_centre",
    "distances_origin",
    "explained_variance",
    "gauge",
    "mahalanobis",
    "offset",
    "original_frame",
    "overshoot",
    "planes_original",
    "planes_pca",
    "spectrum",
    "surface",
}


TITLES = [
    "Components",
    "Where the region lies",
    "Correlations",
    "Ellipses",
    "All components at once",
    "Why the principal components",
    "Dependence after the rotation",
    "Draws and latents",
]


@pytest.fixture(scope="module")
def report(tmp_path_factory, latents):
    """A folder with latents from anywhere, and the report's verdict on them."""
    folder = tmp_path_factory.mktemp("report")
    np.save(folder / "latents.npy", latents)
    with pytest.warns(UserWarning, match="2 of 8 components have no variance"):
        inputs = load_report_inputs(folder)
    return folder, write_report(folder, inputs, progress=False)


@pytest.mark.slow
def test_latents_alone_make_a_report(report):
    folder, verdict = report
    assert {path.name for path in folder.iterdir()} == {
        "latents.npy",
        "report.html",
        "diagnostics.json",
        "diagnostics-components.csv",
        "diagnostics-pairs.csv",
        "figures",
    }
    names = {path.name for path in (folder / "figures").iterdir()}
    assert names == {f"{name}.{kind}" for name in DRAWINGS for kind in ("png", "svg")}
    page = (folder / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(DRAWINGS)
    assert verdict.headline in re.sub("<[^>]+>", "", page)
    assert re.findall("<h2>(.*)</h2>", page) == [*TITLES, "Terms"]


def test_the_numbers_are_written(latents, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "CHAPTERS", (ellipses,))
    np.save(tmp_path / "latents.npy", latents)
    with pytest.warns(UserWarning, match="2 of 8 components have no variance"):
        inputs = load_report_inputs(tmp_path)
    verdict = write_report(tmp_path, inputs, progress=False)
    numbers = json.loads((tmp_path / "diagnostics.json").read_text())
    assert numbers["n"] == 3_000
    assert (numbers["n_features"], numbers["n_components"]) == (8, 6)
    assert numbers["concerns"] == [concern.name for concern in verdict.concerns] == []
    assert (numbers["law"], numbers["level"]) == ("normal", pytest.approx(el.joint_level(0.9, 6), rel=0.05))
    assert numbers["calibration"]["pairs_calibrated"] == 1
    components, pairs = (
        np.genfromtxt(tmp_path / f"diagnostics-{name}.csv", delimiter=",", names=True)
        for name in ("components", "pairs")
    )
    np.testing.assert_allclose(components["scale"], inputs.state.scale, rtol=1e-5)
    assert np.median(np.abs(components["skewness"])) == pytest.approx(
        numbers["components"]["median_abs_skewness"], rel=1e-5
    )
    assert [*zip(pairs["first"], pairs["second"], strict=True)] == [*combinations(range(1, 7), 2)]
    assert pairs["error"].max() == pytest.approx(numbers["calibration"]["worst_error"], rel=1e-5)
    assert pairs["distance"].max() == pytest.approx(numbers["dependence"]["strongest_distance"], rel=1e-5)
    # These numbers draw from the folder as the verdict says.
    measured = RunFolder(tmp_path).read_measured(inputs.state)
    advice = advise(6, measured=measured)
    assert (advice.settings.law, advice.settings.level, advice.reason) == (
        verdict.law,
        verdict.level,
        verdict.reason,
    )


@pytest.mark.slow
def test_facts_of_the_first_report_stay_with_its_state(small_latents, tmp_path, monkeypatch):
    monkeypatch.setattr(write, "CHAPTERS", ())
    inputs = ReportInputs(el.fit(small_latents), small_latents)
    facts = [("time", "3 minutes"), ("images", 60)]
    write_report(tmp_path, inputs, summary=facts, progress=False)
    first = (tmp_path / "report.html").read_text()
    write_report(tmp_path, inputs, progress=False)
    second = (tmp_path / "report.html").read_text()
    for label, fact in facts:
        assert f'<th scope="row">{label}</th><td>{fact}</td>' in first
        assert f'<th scope="row">{label}</th><td>{fact}</td>' in second
    others = small_latents[:50]
    write_report(tmp_path, ReportInputs(el.fit(others), others), progress=False)
    assert "3 minutes" not in (tmp_path / "report.html").read_text()


def test_images_that_are_gone_are_left_out_with_a_word(run_copy):
    record_images(run_copy, "nowhere")
    inputs = load_report_inputs(run_copy)
    assert inputs.images is None
    assert inputs.notes[0].startswith("Reconstructions and nearest training images are left out: ")
    assert "nowhere" in inputs.notes[0]


def test_a_state_in_the_folder_is_used(tmp_path):
    latents = np.random.default_rng(0).normal(size=(100, 5))
    np.save(tmp_path / "latents.npy", latents)
    el.fit(latents, n_components=3).save(tmp_path / "state.npz")
    assert load_report_inputs(tmp_path).state.n_components == 3


@pytest.mark.slow
def test_the_command_says_what_it_found_and_wrote(tmp_path, capsys, monkeypatch, small_latents):
    monkeypatch.setattr(write, "CHAPTERS", (ellipses,))
    np.save(tmp_path / "latents.npy", small_latents)
    assert main(["report", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("The latents are ")
    assert f"wrote {tmp_path / 'report.html'}" in said
    assert "<h2>Ellipses</h2>" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "figures" / "calibration.png").exists()


def test_what_a_report_cannot_be_made_of(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"run: expected a run folder, or a folder with latents.npy"):
        load_report_inputs(tmp_path / "nowhere")
    np.save(tmp_path / "latents.npy", np.random.default_rng(0).normal(size=(100, 5)))
    with pytest.raises(ValueError, match="images: expected a run with an autoencoder"):
        load_report_inputs(tmp_path, "digits")
    (tmp_path / "latents.npy").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"latents.npy: not a readable .npy array"):
        load_report_inputs(tmp_path)


def test_a_report_that_fails_leaves_the_old_one(tmp_path, monkeypatch, small_latents):
    np.save(tmp_path / "latents.npy", small_latents)
    (tmp_path / "report.html").write_text("old")

    def fail(study):
        raise OSError("no space left")

    monkeypatch.setattr(write, "CHAPTERS", (lambda study: None, fail))
    with pytest.raises(OSError, match="no space left"):
        write_report(tmp_path, load_report_inputs(tmp_path), progress=False)
    assert (tmp_path / "report.html").read_text() == "old"


def test_the_decoder_is_examined_before_anything_is_measured(tmp_path, latents, monkeypatch):
    monkeypatch.setattr(write.diagnostics, "diagnose", lambda *_, **__: pytest.fail("measured"))
    dtypes = []

    def tanh(z):
        dtypes.append(z.dtype)
        return np.tanh(z).reshape(len(z), 2, 4, 1)

    state = el.fit(latents[:, 1:6], n_components=3)
    inputs = ReportInputs(
        state, latents[:, 1:6].astype(np.float64), decode=lambda z: tanh(np.resize(z, (len(z), 8)))
    )
    with pytest.raises(ValueError, match=r"output of tanh: pass pixel_range=\(-1, 1\)"):
        write_report(tmp_path, inputs, progress=False)
    examined = dataclasses.replace(inputs, pixel_range=(-1, 1)).examined()
    assert examined.decode(np.zeros((1, 5))).dtype == np.uint8
    assert set(dtypes) == {np.dtype(np.float32)}
