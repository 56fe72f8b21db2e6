import dataclasses

import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.demo import N_FIGURES, DemoConfig, run_demo
from ellipsoid.models import AutoencoderConfig, TrainConfig


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The demonstration at a size of seconds."""
    out = tmp_path_factory.mktemp("demo") / "run"
    config = dataclasses.replace(
        DemoConfig.small(),
        n_images=600,
        n_test=100,
        autoencoder=AutoencoderConfig(image_size=16, filters=(8, 16), latent_dim=12),
        training=TrainConfig(steps=300, batch_size=64),
    )
    return out, run_demo(out, config, progress=False)


def test_everything_lands_in_one_folder(run):
    out, _ = run
    assert {path.name for path in out.iterdir()} == {
        "checkpoints",
        "config.json",
        "figures",
        "latents.npy",
        "metrics.jsonl",
        "report.html",
        "report.json",
        "state.npz",
    }
    assert {path.stem for path in (out / "figures").iterdir()} == {
        "generated",
        "trial_1",
        "trial_2",
        "trial_3",
        "components_and_facts",
        "reconstructions",
        "training",
        "planes_pca",
        "planes_original",
        "explained_variance",
    }


def test_the_summary_says_what_was_measured(run):
    out, summary = run
    assert summary["inside"].startswith("100%")
    share = float(summary["test error"].split()[-7].rstrip("%"))
    assert 1 < share < 60
    state = el.PCAState.load(out / "state.npz")
    assert state.n_samples == 600
    assert np.load(out / "latents.npy").shape == (600, 12)


def test_the_page_shows_the_summary_and_every_figure(run):
    out, summary = run
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == N_FIGURES
    assert summary["images"] in page


def test_it_does_not_overwrite(run):
    with pytest.raises(FileExistsError):
        run_demo(run[0], DemoConfig.small(), progress=False)
