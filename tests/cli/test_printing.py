"""Output for a person, for a program, and none."""

import json
import warnings

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.cli import main
from ellipsoid.cli.printing import OutputOptions, output_as, print_summary, print_table, say
from ellipsoid.progress import progress_bar, without_progress


@pytest.fixture
def sample(tmp_path):
    """Words of a command that draws three latents."""
    el.fit(np.random.default_rng(0).normal(size=(30, 3)), 2).save(tmp_path / "state.npz")
    out = tmp_path / "z.npy"
    words = ["sample", str(tmp_path / "state.npz"), "--n", "3", "--out", str(out), "--law", "uniform"]
    return [*words, "--level", "2"]


def test_json_is_one_object_with_what_the_command_did(sample, tmp_path, capsys):
    assert main([*sample, "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    out = str(tmp_path / "z.npy")
    assert summary.pop("messages") == [f"wrote {out}: 3 latents, 0.0 MB"]
    assert summary == {
        "command": "sample",
        "settings": {"law": "uniform", "level": 2.0, "fact": 1.0, "region": "pairwise"},
        "seed": 0,
        "dtype": "float32",
        "label": None,
        "written": [out],
        "rows": 3,
        "bytes": 36,
        "is_complete": True,
    }


def test_quiet_prints_nothing_but_errors(sample, capsys):
    assert main(["--quiet", *sample]) == 0
    assert capsys.readouterr() == ("", "")
    assert main([*sample[:-1], "-1", "--quiet", "--json"]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("ellipsoid: --level: ")


def test_facts_are_plain_values(tmp_path, capsys):
    with output_as(OutputOptions(json=True)):
        say("one", n=np.int64(3), scale=np.array([1.5, np.inf]), written=(tmp_path,))
        print_table([("a", "1")], ("name", "value"), table=[{"a": np.float32(0.5)}])
        print_summary("test")
        print_summary("test")  # is not printed again
    summary = json.loads(capsys.readouterr().out)
    assert summary == {
        "command": "test",
        "n": 3,
        "scale": [1.5, None],
        "written": [str(tmp_path)],
        "table": [{"a": 0.5}],
        "messages": ["one"],
    }


def test_a_warning_is_one_line(tmp_path, capsys):
    np.save(tmp_path / "z.npy", np.ones((9, 2)) * np.arange(9)[:, None])
    fit = ["fit", str(tmp_path / "z.npy"), "--out", str(tmp_path / "state.npz")]
    with warnings.catch_warnings(action="always"):
        assert main(fit) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ellipsoid: warning: ")
    assert main([*fit, "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_bar_fits_its_terminal(width, monkeypatch, capsys):
    for name, value in (
        ("COLUMNS", str(width)),
        ("TTY_COMPATIBLE", "1"),
        ("NO_COLOR", "1"),
        ("TERM", "xterm"),
    ):
        monkeypatch.setenv(name, value)
    with progress_bar("train", 192_000, unit="images") as advance:
        advance(192_000, "loss 0.00123")
    shown = capsys.readouterr().err
    assert "train" in shown
    assert "100%" in shown or "192000/192000" in shown
    assert shown.rstrip().endswith("loss 0.00123") or "loss 0.00123\n" in shown
    assert "…" not in shown
    with without_progress(), progress_bar("train", 2) as advance:
        advance(2)
    assert capsys.readouterr().err == ""
