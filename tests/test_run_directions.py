"""Directions of a run: where attributes come from, where they are kept, and the commands that use them."""

import jax.random as jr
import numpy as np
import pytest
from helpers import decode
from PIL import Image
from small_runs import CONFIG, noise

import ellipsoid as el
from ellipsoid.cli import main
from ellipsoid.cli.draw_options import as_edits
from ellipsoid.directions import Directions
from ellipsoid.models import procedural_faces
from ellipsoid.run_directions import edited_decoder, learn_run_directions, run_direction, run_directions
from ellipsoid.runs import RunFolder, training_attributes


def new_run(folder, n=80, d=4):
    run = RunFolder(folder)
    folder.mkdir()
    np.save(run.latents, np.random.default_rng(0).normal(size=(n, d)).astype(np.float32))
    return run


def configure(run, **images):
    run.write_config({"autoencoder": CONFIG.to_json(), "training": {}, "images": images})


def test_attributes_of_drawn_faces_are_those_of_the_images(tmp_path):
    run = new_run(tmp_path / "run")
    configure(run, source="demo", n=80, seed=3)
    known = training_attributes(run)
    drawn = procedural_faces(80, 16, key=jr.split(el.key(3), 3)[0]).attributes
    assert list(known) == list(drawn)
    assert all(np.array_equal(known[name], drawn[name]) for name in drawn)
    learned = run_directions(run)
    frequent = [name for name, has in drawn.items() if 10 <= has.sum() <= 70]
    assert list(learned) == frequent
    assert Directions.load(run.directions) == learned == run_directions(run)
    with pytest.raises(ValueError, match=r"direction: expected one of smiling, .*; got 'grin'"):
        run_direction(run, "grin")
    run.remove_fitted()
    assert not run.directions.exists()


def test_classes_of_an_array_file_and_given_labels(tmp_path):
    run, labels = new_run(tmp_path / "run"), np.arange(80) % 3
    labels[0] = 7  # too rare for a direction of its own
    np.savez(tmp_path / "images.npz", images=noise(80), labels=labels)
    configure(run, source=str(tmp_path / "images.npz"))
    assert list(run_directions(run)) == ["0", "1", "2"]
    given = {"odd": np.arange(80) % 2 == 1, "all": np.ones(80, bool)}
    assert list(learn_run_directions(run, given)) == ["odd"]
    assert list(run_directions(run)) == ["odd"]
    configure(run, source="demo", n=81, seed=3)
    with pytest.raises(ValueError, match="expected as many training images as latents, 80; got 81, since"):
        learn_run_directions(run)


def test_what_can_not_be_learned_is_said(tmp_path):
    run = new_run(tmp_path / "run")
    with pytest.raises(ValueError, match="labels: expected labels of the latents, since nothing is known"):
        learn_run_directions(run)
    for labels, message in (
        ({"all": np.ones(80, bool)}, "expected an attribute that 10 rows have and 10 lack; got none"),
        (np.arange(79), r"expected one for each of 80 latents; got shape \(79,\)"),
    ):
        with pytest.raises(ValueError, match=message):
            learn_run_directions(run, labels)
    run.directions.write_text("mine")
    with pytest.raises(FileExistsError, match="expected a new file or a file of directions"):
        learn_run_directions(run, np.arange(80) % 2)
    assert run.directions.read_text() == "mine"


@pytest.mark.slow
def test_an_edited_image_is_that_of_the_edited_latents():
    state = el.fit(np.random.default_rng(0).normal(size=(400, 4)))
    learned = el.direction(np.asarray(state.mean) + np.eye(4).repeat(100, axis=0), np.arange(400) < 100)
    z = np.asarray(el.sample(el.key(0), state, 32).latents)
    edited, name = edited_decoder(decode, "decoder", state, [(learned, 0.5)], level=1.645)
    moved = el.edit(state, z, learned, 0.5, towards="centre")
    np.testing.assert_array_equal(edited(z), decode(moved.latents))
    assert moved.gauge.max() < 1 + 1e-5
    # Each row counts alone, whichever others leave the region.
    np.testing.assert_array_equal(edited(z[::-1])[::-1], edited(z))
    amounts = 0.5, 0.6
    names = {edited_decoder(decode, "decoder", state, [(learned, a)])[1] for a in amounts} | {name}
    assert len(names) == 2


@pytest.mark.slow
def test_commands(run_copy, tmp_path, capsys):
    run, labels = RunFolder(run_copy), tmp_path / "labels.npz"
    picture, strip = run_copy.parent / "picture.png", tmp_path / "strip.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)).save(picture)
    n = len(run.read_latents())
    np.savez(labels, bright=run.read_latents()[:, 0] > 0, late=np.arange(n) > n // 2)
    edit = ["edit", str(run_copy), str(picture), "--along", "bright", "--out", str(strip)]
    assert main(edit) == 1  # nothing is known of these images
    assert "nothing is known of the training images" in capsys.readouterr().err
    assert main(["directions", str(run_copy), "--labels", str(labels), "--orthogonal", "late"]) == 0
    output = capsys.readouterr().out
    assert "bright" in output
    assert f"wrote {run.directions}: 2 directions" in output
    assert main([*edit, "--amounts", "-1", "0", "2.5"]) == 0
    assert f"wrote {strip}: gauge" in capsys.readouterr().out
    assert main(edit) == 0  # over its own strip
    other = tmp_path / "other.png"
    Image.new("RGB", (9, 9)).save(other)
    for out, error in (
        (picture, "expected a file other than the inputs"),
        (other, "expected a new file or a strip of this command"),
    ):
        assert main([*edit[:-1], str(out)]) == 1
        assert error in capsys.readouterr().err
    assert main([*edit[:-1], str(other), "--force"]) == 0
    for words, error in (
        (
            ["--edit", "late=much"],
            "--edit: expected a direction and a number, as in smiling=1.5; got late=much",
        ),
        (["--edit", "early=1"], "expected one of bright, late; got 'early'"),
    ):
        assert main(["generate", str(run_copy), "--n", "4", "--out", str(tmp_path / "x.npy"), *words]) == 1
        assert error in capsys.readouterr().err
    images = {}
    for name, words in (
        ("plain", []),
        ("late", ["--edit", "late=3", "bright=-1"]),
    ):
        out = tmp_path / f"{name}.npy"
        assert main(["generate", str(run_copy), "--n", "4", "--out", str(out), *words]) == 0
        images[name] = np.load(out)
    assert not np.array_equal(images["plain"], images["late"])
    # An edited result is no other one's.
    again = ["generate", str(run_copy), "--n", "4", "--out", str(tmp_path / "late.npy"), "--edit", "late=2"]
    assert main(again) == 1


def test_edits_are_read():
    assert as_edits(["smiling=1.5", "a=b=-2"]) == [("smiling", 1.5), ("a=b", -2.0)]
    for word in ("smiling", "=1", "smiling=nan"):
        with pytest.raises(ValueError, match="edit: expected a direction and a number"):
            as_edits([word])
