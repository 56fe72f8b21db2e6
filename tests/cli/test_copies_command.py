"""The command `copies`, on tables and images."""

import numpy as np
import pytest

from ellipsoid.cli import main

NAMES = "age,income,share"


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Folder with tables of 60 honest rows and 60 with copies, of 50 training rows and 39 unseen ones."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    sizes = {"honest": 60, "copies": 60, "train": 50, "unseen": 39}
    rows = {name: rng.normal(size=(size, 3)) * (1, 1e4, 0.01) for name, size in sizes.items()}
    rows["copies"][:30] = rows["train"][:30] * 1.0001
    for name, values in rows.items():
        np.savetxt(f"{name}.csv", values, delimiter=",", header=NAMES, comments="")
    return rows


def run(generated, *options, train="train.csv", unseen="unseen.csv"):
    return main(["copies", generated, "--train", train, "--unseen", unseen, *options])


def test_copies_in_a_table_have_an_exit_status_of_their_own(tables, tmp_path, capsys):
    assert run("copies.csv") == 3
    assert capsys.readouterr().out.startswith("Training rows are copied: ")
    page = (tmp_path / "copies.html").read_text()
    assert page.count('<th scope="col">income</th>') == 1
    assert "The 20 nearest pairs" in page
    assert run("honest.csv") == 0  # and replaces its own page
    assert capsys.readouterr().out.startswith("No copying was found: ")
    assert run("unseen.csv") == 0  # whose ratios are all infinite


def test_images_stand_side_by_side(tables, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, rows in tables.items():
        images = np.clip(128 + 40 * rng.normal(size=(len(rows), 8, 8)), 0, 255).astype(np.uint8)
        tables[name] = images
    tables["copies"][:30] = tables["train"][:30]
    for name, images in tables.items():
        np.save(f"{name}.npy", images)
    arrays = {"train": "train.npy", "unseen": "unseen.npy"}
    assert run("copies.npy", "--out", "images.html", "--pairs", "4", **arrays) == 3
    assert "30 generated and 0 unseen rows equal a training row" in capsys.readouterr().out
    assert (tmp_path / "images.html").read_text().count("data:image/png;base64") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.csv",), "generated: expected a file or folder of data; got no.csv, which does not exist"),
        (("damaged.npz",), "generated: expected a .npy array; got damaged.npz, which cannot be read"),
        (("run",), "generated: expected a file or folder of data; got run, a run folder: give its images"),
        (
            ("other.csv",),
            "generated: expected the columns of --train, age, income, share; got a, b, c",
        ),
        (
            ("images.npy",),
            "generated: expected data of the same kind as --train; got images.npy with images",
        ),
        (("honest.csv", "--out", "train.csv"), "--out: expected a file other than the inputs"),
        (("honest.csv", "--out", "mine.html"), "--out: expected a new file or a page of `ellipsoid copies`"),
        (
            ("honest.csv", "--quantile", "0.001"),
            "unseen: expected at least 999 rows for this quantile; got 39",
        ),
    ],
)
def test_bad_input_is_refused_and_loses_nothing(tables, tmp_path, capsys, arguments, message):
    np.savetxt("other.csv", tables["honest"], delimiter=",", header="a,b,c", comments="")
    np.save("images.npy", np.zeros((60, 8, 8), np.uint8))
    (tmp_path / "mine.html").write_text("mine")
    (tmp_path / "damaged.npz").write_bytes(b"PK\3\4 damaged")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text("{}")
    assert run(*arguments) == 1
    assert message in capsys.readouterr().err
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert not (tmp_path / "copies.html").exists()
