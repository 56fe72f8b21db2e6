import contextlib
import dataclasses
import io
import json
import re
import shutil

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.cli import main
from ellipsoid.diagnostics import diagnose
from ellipsoid.evaluation.recommend import GOALS, load_recommendation
from ellipsoid.report import load_report_inputs
from ellipsoid.report.chapters.evaluation import evaluation
from ellipsoid.report.study import make_study


@pytest.fixture(scope="module")
def evaluated(trained_run, tmp_path_factory):
    """A run, evaluated against the images that it kept back, and the output of the command."""
    folder, said = tmp_path_factory.mktemp("evaluate") / "run", io.StringIO()
    shutil.copytree(trained_run, folder)
    with contextlib.redirect_stdout(said):
        assert main(["evaluate", str(folder), "--quick", "--features", "pixels"]) == 0
    return folder, said.getvalue()


@pytest.fixture(scope="module")
def run(evaluated):
    return evaluated[0]


def test_everything_lands_in_the_run(run):
    names = {path.name for path in (run / "evaluation").iterdir()}
    assert {
        "table.md",
        "table.csv",
        "evaluation.json",
        "fidelity_diversity.png",
        "equal_precision.png",
    } <= names
    content = json.loads((run / "evaluation" / "evaluation.json").read_text())
    # A fifth of 250 images was kept back, and no reconstruction is one of them.
    assert content["n"] == content["n_real"] == 50
    assert content["features"] == "pixels"
    found = {row["setting"]: row for row in content["results"]}
    assert found["training reconstructions"]["copies"] == 1
    assert found["training images"]["copies"] is None
    assert (run / "recommendation.json").is_file()
    # The run's own state saw the images that were kept back; the recommended state did not.
    assert load_recommendation(run, "balanced").state.n_samples == 400
    assert el.load(run / "state.npz").n_samples == 250


def test_the_table_the_recommendation_and_the_files_are_said(evaluated):
    _, said = evaluated
    for words in ("uniform", "training reconstructions", "±", "fidelity: ", "diversity: ", "table.md"):
        assert words in said
    assert "published FID" in " ".join(said.split())


@pytest.mark.slow
def test_the_same_command_measures_nothing_again(run, capsys):
    def measured():
        return {path: path.stat().st_mtime_ns for path in (run / "evaluation" / "cache").iterdir()}

    before, content = measured(), (run / "evaluation" / "evaluation.json").read_bytes()
    assert len(before) > 20
    assert main(["evaluate", str(run), "--quick", "--features", "pixels"]) == 0
    said = capsys.readouterr().out
    assert "fidelity: " in said
    assert "replaced" not in said
    assert measured() == before
    assert (run / "evaluation" / "evaluation.json").read_bytes() == content


@pytest.mark.slow
def test_another_recommendation_is_not_replaced_without_a_word(run, capsys):
    path, former = run / "recommendation.json", load_recommendation(run)
    content = json.loads(path.read_text())
    content["goals"]["balanced"]["level"] = 9.25
    content["provenance"] = {"date": "2026-11-28T00:00:00+00:00", "version": "0.0.9"}
    path.write_text(json.dumps(content))
    assert main(["evaluate", str(run), "--quick", "--features", "pixels"]) == 0
    assert (
        "replaced the former recommendation for balanced (2026-11-28 00:00 UTC by ellipsoid 0.0.9): law "
        f"{former.law}, level 9.25, fact 1, region {former.region}, {former.n_components} components"
    ) in capsys.readouterr().out
    assert load_recommendation(run).level == former.level


@pytest.mark.slow
def test_a_report_leads_with_what_was_found(run, tmp_path, capsys, monkeypatch):
    """The report names its own source and that of the evaluation; it says nothing of another state."""
    folder, best = tmp_path / "run", load_recommendation(run)
    shutil.copytree(run, folder)
    monkeypatch.setattr("ellipsoid.report.write.CHAPTERS", ())
    other = tmp_path / "other.npz"
    el.fit(np.load(run / "latents.npy"), n_components=3).save(other)
    for options in ([], ["--state", str(other)]):
        assert main(["report", str(folder), *options]) == 0
        page = re.sub("<[^>]+>", "", (folder / "report.html").read_text())
        numbers = json.loads((folder / "diagnostics.json").read_bytes())
        command = " ".join(["ellipsoid report", str(folder), *options])
        assert f"by ellipsoid {el.__version__}, `{command}`" in page
        assert (f"Draw with {best.way}. Among all ways to draw" in page) == (not options)
        assert ("`ellipsoid evaluate " in page) == (not options)
        assert numbers["advice"] == ("latents" if options else "evaluation")
        assert options or (numbers["law"], numbers["level"]) == (best.law, best.level)
        assert numbers["provenance"]["command"] == command


def test_generate_and_sample_draw_as_recommended_and_say_so(run, tmp_path, capsys):
    capsys.readouterr()
    for goal, arguments in (("balanced", []), ("fidelity", ["--goal", "fidelity"])):
        out = str(tmp_path / f"{goal}.npy")
        assert main(["sample", str(run), "--n", "20", "--out", out, *arguments]) == 0
        expected = load_recommendation(run, goal)
        said = capsys.readouterr().out
        assert f"settings for the goal {goal}: law {expected.law}, level {expected.level:.4g}" in said
        assert expected.reason in said
        draws = el.sample(el.key(0), expected.state, 20, **expected.options)
        np.testing.assert_array_equal(np.load(out), draws.latents)
    assert main(["generate", str(run), "--n", "3", "--out", str(tmp_path / "images")]) == 0
    assert "settings for the goal balanced" in capsys.readouterr().out


def test_a_report_shows_what_was_found(run, tmp_path):
    inputs = load_report_inputs(run)
    measured = diagnose(inputs.state, inputs.latents, progress=False)

    def section(folder):
        of_run = dataclasses.replace(inputs, run=folder)
        advice = el.recommend(inputs.state)
        return evaluation(make_study(of_run, measured, advice, tmp_path / "figures", key=el.key(0)))

    shown = section(run)
    best = [load_recommendation(run, goal) for goal in GOALS]
    assert best[0].reason in shown.text
    content = json.loads((run / "evaluation" / "evaluation.json").read_text())["results"]
    found = {(row["precision"], row["precision_error"], row["frechet"]) for row in content}
    for recommended, row in zip(best, shown.table[1:], strict=True):
        measured = recommended.measured
        assert (*measured["precision"], measured["frechet"].value) in found
        assert row[0] == recommended.goal
        assert row[2] == f"{measured['precision'].value:.2f} ± {measured['precision'].error:.2f}"
    names = ["recommended", "fidelity_diversity", "equal_precision"]
    assert [path.stem for path, *_ in shown.pictures] == names
    assert all(path.is_file() for path, *_ in shown.pictures)

    other = tmp_path / "other"
    shutil.copytree(run, other)
    el.fit(inputs.latents[:100]).save(other / "state.npz")
    assert "state.npz is not the one that was evaluated" in section(other).text
    assert not section(other).pictures
    (other / "recommendation.json").unlink()
    assert section(other) is None


def test_who_says_how_to_draw_gets_the_defaults_for_the_rest(run, tmp_path, capsys):
    capsys.readouterr()
    state, out = el.PCAState.load(run / "state.npz"), str(tmp_path / "z.npy")
    arguments = ["--region", "box", "--law", "normal", "--level", "2", "--fact", "0.5"]
    assert main(["sample", str(run), "--n", "20", "--out", out, *arguments]) == 0
    expected = el.sample(el.key(0), state, 20, region="box", law="normal", level=2.0, fact=0.5)
    np.testing.assert_array_equal(np.load(out), expected.latents)
    assert "settings for" not in capsys.readouterr().out


def test_a_state_that_nobody_has_evaluated_is_drawn_from_as_theory_says(run, tmp_path, capsys):
    state, advice = el.PCAState.load(run / "state.npz"), el.recommend(el.load(run / "state.npz"))
    for name, arguments in (("default", []), ("goal", ["--goal", "balanced"])):
        out = str(tmp_path / f"{name}.npy")
        capsys.readouterr()
        assert main(["sample", str(run / "state.npz"), "--n", "20", "--out", out, *arguments]) == 0
        said = capsys.readouterr().out
        assert f"settings for the goal balanced: law {advice.law}, level {advice.level:.4g}" in said
        assert "nothing was measured" in said
        np.testing.assert_array_equal(np.load(out), el.sample(el.key(0), state, 20, **advice.options).latents)


def test_errors_are_one_line(run, tmp_path, capsys):
    def error_of(*arguments):
        capsys.readouterr()
        assert main(["evaluate", *map(str, arguments)]) == 1
        return capsys.readouterr().err.strip().splitlines()[-1]

    assert "n: expected at least 19; got 18" in error_of(run, "--n", "18")
    assert "with no config.json" in error_of(tmp_path, "--quick")
    assert "no such file" in error_of(run, "--against", tmp_path / "nowhere")


def test_an_interruption_is_said(run, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt("interrupted; what was measured is kept")

    monkeypatch.setattr("ellipsoid.evaluation.runs.evaluate", interrupted)
    assert main(["evaluate", str(run), "--quick", "--features", "pixels"]) == 130
    assert capsys.readouterr().err.endswith("ellipsoid: interrupted; what was measured is kept\n")
