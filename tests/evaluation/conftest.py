import pytest
from evaluation_toys import Toy

from ellipsoid.evaluation import (
    FAMILIES,
    RECONSTRUCTIONS,
    baseline_candidates,
    candidates_of_flow,
    mixture_candidates,
    region_candidate,
)


@pytest.fixture(scope="session")
def toy():
    return Toy()


@pytest.fixture(scope="session")
def evaluation(toy):
    """A few candidates of every kind that is measured in no time."""
    regions = [region_candidate(FAMILIES["normal"], toy.state, spread) for spread in (0.4, 0.55, 0.95)]
    chosen = ("Gaussian, spread 1", "box", "interpolations", RECONSTRUCTIONS.name)
    baselines = [c for c in baseline_candidates(toy.latents, (), slow=False) if c.name in chosen]
    assert len(baselines) == len(chosen)
    return toy.evaluate([*regions, *baselines])


@pytest.fixture(scope="session")
def mixtures(toy):
    """Candidates of the one mixture that so few latents allow; fitted when it is first needed."""
    return mixture_candidates(toy.latents, toy.state)


@pytest.fixture(scope="session")
def make_flows(toy):
    """Candidates of a flow, which is fitted in a second when it is first needed, and kept in a folder."""

    def make(folder=None):
        sizes = {"steps": 300, "width": 32, "depth": 1, "n_steps": 8}
        return candidates_of_flow(toy.latents, 5, folder, **sizes)

    return make


@pytest.fixture(scope="session")
def flow_folder(make_flows, tmp_path_factory):
    """Folder with the fitted flow in it; to be read only."""
    folder = tmp_path_factory.mktemp("flow") / "cache"
    make_flows(folder)[0].recipe.state()
    return folder
