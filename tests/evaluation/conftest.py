import pytest
from evaluation_toys import Toy

from ellipsoid.evaluation import FAMILIES, RECONSTRUCTIONS, baseline_candidates, mixture_candidates
from ellipsoid.evaluation.candidates import region_candidate


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
