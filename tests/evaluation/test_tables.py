"""An evaluation as files."""

import csv
import json

import pytest
from evaluation_toys import made_up_evaluation, made_up_result

from ellipsoid.archive import digest
from ellipsoid.evaluation import table_of, write_evaluation


@pytest.fixture(scope="module")
def folder(evaluation, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    written = write_evaluation(evaluation, folder)
    assert {path.name for path in written} == {path.name for path in folder.iterdir()}
    return folder


def test_tables_and_figures(toy, evaluation, folder):
    assert {"table.md", "table.csv", "evaluation.json", "fidelity_diversity.svg", "equal_precision.png"} <= {
        path.name for path in folder.iterdir()
    }
    with open(folder / "table.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    content = json.loads((folder / "evaluation.json").read_text())
    assert len(rows) == len(content["results"]) == len(evaluation.results) + 1
    for row, numbers, result in zip(rows, content["results"], evaluation.results, strict=False):
        assert row["setting"] == numbers["setting"] == result.name
        assert float(row["recall"]) == numbers["recall"] == result.measurements.recall.value
        assert float(row["frechet_error"]) == numbers["frechet_error"] == result.measurements.frechet.error
    table = (folder / "table.md").read_text()
    assert len(table.splitlines()) == len(rows) + 4
    assert evaluation.note in table
    assert "±" in table
    assert content["note"] == evaluation.note
    assert content["state_digest"] == digest(toy.state)
    for line, result in zip(table_of(evaluation), evaluation.results, strict=False):
        assert line["setting"] == result.name
        assert line["recall"].startswith(f"{result.measurements.recall.value:.3f} ± ")
        assert (line["level"] == "") == (result.recipe is None)


def test_columns_are_what_they_were(evaluation, folder):
    """Programs read files of earlier versions by these names."""
    header, row, *_ = (folder / "table.csv").read_text().splitlines()
    numbers = ("precision", "recall", "density", "coverage", "frechet", "kernel", "wasserstein", "copies")
    assert header.split(",") == [
        *("setting", "family", "spread", "law", "level", "region", "n_components"),
        *(column for name in numbers for column in (name, f"{name}_error")),
        *("copies_expected", "copies_p_value"),
    ]
    level = evaluation.results[0].recipe.settings.level
    assert row.startswith(f'"normal, spread 0.4",normal,0.4,normal,{level!r},pairwise,5,')


def test_any_candidate_can_be_written(tmp_path, monkeypatch):
    """One baseline without training images has no curves, no floor and no settings of ours."""
    monkeypatch.setattr("ellipsoid.figures.save", lambda figure, path: path)
    evaluation = made_up_evaluation("digest", [made_up_result("box", 0.5, 0.5)])
    written = {path.name for path in write_evaluation(evaluation, tmp_path)}
    assert "table.md" in written
    with pytest.raises(ValueError, match="evaluation: expected at least one result; got none"):
        write_evaluation(made_up_evaluation("digest", []), tmp_path / "none")
    assert "regions.png" not in written
