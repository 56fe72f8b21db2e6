"""Inception with random weights: how it resizes, and its figures against those of torch-fidelity."""

import numpy as np
import pytest

from ellipsoid.metrics import published_figures
from ellipsoid.models.features import inception_features
from ellipsoid.models.features.resizing import resized

torch = pytest.importorskip("torch")
v3 = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """File of random weights that keep the variance from layer to layer."""
    path = tmp_path_factory.mktemp("weights") / "inception.pth"

    class Untrained(v3.FeatureExtractorInceptionV3):
        def load_state_dict(self, *_):
            pass

    torch.save({}, path)
    network = Untrained("inception-v3-compat", ["2048"], path)
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def images():
    """Two sets of coloured patterns, 16 x 16 pixels, some of which are alike."""
    rng = np.random.default_rng(0)
    patterns = rng.normal(size=(2, 40, 8)) @ rng.normal(size=(8, 16 * 16 * 3)) * 20
    patterns[0] = 1.1 * patterns[0] + 10
    return np.clip(128 + patterns, 0, 255).astype(np.uint8).reshape(2, 40, 16, 16, 3)


def test_figures_are_those_of_torch_fidelity(weights, images):
    from torch_fidelity import calculate_metrics

    space = inception_features(weights)
    assert (space.name, space.comparable) == ("inception", False)
    generated, real = images
    ours = published_figures(space(generated), space(real), comparable=space.comparable)
    assert len(ours.caveats) == 2

    sets = [torch.from_numpy(np.ascontiguousarray(one.transpose(0, 3, 1, 2))) for one in images]
    theirs = calculate_metrics(
        **{f"input{i}": Tensors(one) for i, one in enumerate(sets, 1)},
        **dict.fromkeys(("fid", "kid", "prc"), True),
        **dict.fromkeys(("cuda", "cache", "verbose"), False),
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        kid_subsets=1,
        kid_subset_size=40,
        save_cpu_ram=True,
    )
    names = {
        "FID": "frechet_inception_distance",
        "KID x 1000": "kernel_inception_distance_mean",
        "precision": "precision",
        "recall": "recall",
    }
    expected = {name: theirs[there] for name, there in names.items()}
    expected["KID x 1000"] *= 1000
    for name, value in expected.items():
        assert ours.figures[name].value == pytest.approx(value, rel=1e-3), name
    assert 0 < expected["precision"] < 1


class Tensors(torch.utils.data.Dataset):
    def __init__(self, tensors):
        self.tensors = tensors

    def __len__(self):
        return len(self.tensors)

    def __getitem__(self, index):
        return self.tensors[index]


def test_both_resizes(weights, images):
    original, clean = (inception_features(weights, resize=name) for name in ("original", "clean"))
    small = images[0, :3]
    rows = original(small), clean(small)
    assert np.abs(rows[0] - rows[1]).max() > 0.01 * rows[0].std()
    large = np.random.default_rng(0).integers(0, 256, (2, 299, 299, 3), np.uint8)
    np.testing.assert_allclose(clean(large), original(large), rtol=1e-5, atol=1e-5)  # nothing is resized
    np.testing.assert_array_equal(original(small), rows[0])  # nothing is left behind in the network
    with pytest.raises(ValueError, match="resize: expected one of original, clean; got 'legacy'"):
        inception_features(weights, resize="legacy")


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
def test_the_clean_resize_is_that_of_clean_fid(images):
    resize = pytest.importorskip("cleanfid.resize").build_resizer("clean")
    tall = np.concatenate([images[0, :2], images[1, :2]], axis=1)
    expected = np.stack([resize(image) for image in tall])
    np.testing.assert_array_equal(resized(tall, 299, np.float32), expected)


def test_what_is_refused(weights, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"weights: expected the file weights-inception-.*, no such"):
        inception_features(tmp_path / "no.pth")
    content = torch.load(weights, weights_only=True)
    content.popitem()
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="weights: expected a file of Inception's weights alone"):
        inception_features(tmp_path / "other.pth")
