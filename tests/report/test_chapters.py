"""Every chapter by itself: its text and its figures."""

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ellipsoid as el
from ellipsoid import diagnostics
from ellipsoid.evaluation.recommend import GOALS, Recommendation
from ellipsoid.report import ReportInputs
from ellipsoid.report.chapters import CHAPTERS, evaluation
from ellipsoid.report.chapters.attributes import attributes, has_two_peaks
from ellipsoid.report.chapters.autoencoder import autoencoder, neighbours
from ellipsoid.report.chapters.components import components
from ellipsoid.report.chapters.draws import draws_and_data
from ellipsoid.report.chapters.images import FACTS, new_images
from ellipsoid.report.chapters.indices import distinct_pairs, evenly_spaced
from ellipsoid.report.chapters.ladder import ladder
from ellipsoid.report.chapters.normality import normality
from ellipsoid.report.chapters.pairs import correlations, dependence, ellipses
from ellipsoid.report.chapters.principal_frame import principal_frame
from ellipsoid.report.chapters.region import blind_latents, location, without_the_region
from ellipsoid.report.chapters.walks import walks
from ellipsoid.report.study import N_DRAWS, Study, make_study
from ellipsoid.settings import DrawSettings
from ellipsoid.velocity import untrained


def uniform_scores(n, scale):
    """Make scores within one and a half scales: about as wide as draws of the default law and level."""
    random = np.random.default_rng(n)
    return (np.asarray(scale) * random.uniform(-1.5, 1.5, size=(n, len(scale)))).astype(np.float32)


@dataclass(frozen=True)
class LightStudy(Study):
    """A study that costs nothing: its draws come from NumPy, and it keeps its figures and saves none."""

    figures: dict = field(default_factory=dict)
    sampled: list = field(default_factory=list)

    def sample(self, n, shape=None, **options):
        state = shape or self.state
        self.sampled.append((n, state.n_components, options))
        return np.asarray(state.reconstruct(uniform_scores(n, state.scale)))

    def save(self, name, figure, caption, *, svg=True):
        self.figures[name] = figure
        return Path(f"{name}.{'svg' if svg else 'png'}"), caption


def light_study(latents, **inputs):
    state = el.fit(latents)
    scores = uniform_scores(400, state.scale)
    return LightStudy(
        inputs=ReportInputs(state, latents, **inputs),
        diagnostics=diagnostics.diagnose(state, latents),
        advice=Recommendation("balanced", state, DrawSettings("redraw", 1.645), "Made up."),
        folder=Path("nowhere"),
        drawn_latents=np.asarray(state.reconstruct(scores)),
        drawn_scores=scores,
        blind_key=el.key(1),
        sample_key=el.key(2),
        walk_key=el.key(3),
    )


def decode(latents):
    """Make images (n, 6, 6, 3) that repeat the latents in steps of 1/5."""
    latents = np.asarray(latents, np.float64)
    numbers = np.tile(latents, math.ceil(108 / latents.shape[1]))[:, :108]
    return np.clip(np.rint(5 * numbers) + 128, 0, 255).astype(np.uint8).reshape(-1, 6, 6, 3)


def encode(images):
    """Give the latents (n, 8) of such images."""
    return (images.reshape(len(images), -1)[:, :8].astype(np.float32) - 128) / 5


@pytest.fixture(scope="module")
def numbers(latents):
    """The study of latents alone."""
    with pytest.warns(UserWarning, match="2 of 8 components have no variance"):
        return light_study(latents)


@pytest.fixture
def study(numbers):
    return dataclasses.replace(numbers, figures={}, sampled=[])


@pytest.fixture
def with_images(study, latents):
    """The study of latents that are those of images."""
    inputs = dataclasses.replace(study.inputs, decode=decode, encode=encode, images=decode(latents[:300]))
    return dataclasses.replace(study, inputs=inputs)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


# --- what there is to show --------------------------------------------------------------------------

DRAWINGS = {
    components: [
        "components_pca",
        "components_original",
        "component_statistics",
        "dimension_statistics",
        "spectrum",
        "explained_variance",
    ],
    location: ["distances_origin", "distances_centre", "offset"],
    correlations: ["correlations", "angles"],
    ellipses: ["calibration", "contours_pca", "contours_original"],
    normality: ["mahalanobis", "gauge"],
    principal_frame: ["overshoot", "original_frame"],
    dependence: ["dependence", "dependent_pairs"],
    draws_and_data: ["planes_pca", "planes_original", "comparison", "surface"],
}
GRIDS = {
    ladder: ["ladder"],
    new_images: ["generated", "laws", "components_and_facts"],
    without_the_region: ["trial_1", "trial_2", "trial_3"],
    principal_frame: ["original_frame_images"],
    walks: ["traversals", "paths", "between_images", "circle"],
    autoencoder: ["reconstructions"],
    neighbours: ["nearest"],
}


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.__name__)
def test_latents_alone_give_the_chapters_of_numbers(study, chapter):
    section = chapter(study)
    if chapter not in DRAWINGS:
        assert section is None
        return
    assert [path.name for path, *_ in section.pictures] == [f"{name}.svg" for name in DRAWINGS[chapter]]
    assert len({caption for _, caption, *_ in section.pictures}) == len(section.pictures)
    assert section.title
    assert section.text


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.__name__)
def test_images_give_every_chapter_but_evaluation_and_attributes(with_images, tmp_path, chapter):
    section = chapter(dataclasses.replace(with_images, folder=tmp_path))
    if chapter in (evaluation.evaluation, attributes):
        assert section is None
        return
    drawings = [path.stem for path, *_ in section.pictures if path.suffix == ".svg"]
    grids = [path.stem for path, *_ in section.pictures if path.suffix != ".svg"]
    assert drawings == DRAWINGS.get(chapter, ["nearest_distances"] if chapter is neighbours else [])
    assert grids == GRIDS.get(chapter, [])


@pytest.fixture(scope="module")
def two_components(small_latents):
    return light_study(small_latents, decode=decode)


@pytest.mark.slow
@pytest.mark.parametrize("chapter", [*DRAWINGS, new_images, walks], ids=lambda chapter: chapter.__name__)
def test_two_components_are_enough(two_components, tmp_path, chapter):
    section = chapter(dataclasses.replace(two_components, folder=tmp_path))
    names = [path.stem for path, *_ in section.pictures]
    expected = DRAWINGS.get(chapter, []) + GRIDS.get(chapter, [])
    assert names == [name for name in expected if name != "surface"]


# --- images ------------------------------------------------------------------------------------------


def test_new_images_are_drawn_by_every_law_and_by_number_of_components(with_images):
    section = new_images(with_images)
    nine_tenths = with_images.diagnostics.levels_holding[0.9]
    assert [(options["law"], options["level"]) for n, _, options in with_images.sampled if n == 8] == [
        ("redraw", el.DEFAULT_LEVEL),
        ("sequential", el.DEFAULT_LEVEL),
        ("uniform", el.DEFAULT_LEVEL),
        ("uniform", el.matched_level(6, law="uniform")),
        ("normal", nine_tenths),
    ]
    table = [(k, options["level"] * options["fact"]) for n, k, options in with_images.sampled if n == 9]
    assert table == [(k, 2.35 * fact) for k in (2, 3, 6) for fact in FACTS]
    assert f"level {nine_tenths:.3g} holds 90% of the latents" in section.pictures[1][1]
    rows = texts(with_images.figures["components_and_facts"])[:3]
    assert rows == ["2 components", "3 components", "6 components"]


def test_generators_that_miss_the_region_know_each_dimension_at_most(study, latents):
    n = 4_000
    cube, box, normals = blind_latents(study, n).values()
    mean, std = latents.mean(axis=0, dtype=np.float64), latents.std(axis=0, ddof=1, dtype=np.float64)
    assert 1.49 < np.abs(cube).max() <= 1.5
    reach = el.DEFAULT_LEVEL * std
    assert (np.abs(box - mean) <= reach * (1 + 1e-5) + 1e-6).all()
    assert (np.abs(box - mean).max(axis=0) >= 0.99 * reach).all()
    assert (np.abs(normals.mean(axis=0) - mean) <= 5 * std / math.sqrt(n)).all()
    assert (np.abs(normals.std(axis=0) - std) <= 5 * std / math.sqrt(2 * n)).all()
    # Each dimension is drawn alone: two equal dimensions are independent here.
    for independent in (box, normals):
        assert abs(np.corrcoef(independent[:, [3, 6]].T)[0, 1]) < 5 / math.sqrt(n)
    captions = [caption for _, caption, *_ in without_the_region(with_decoder(study)).pictures]
    assert captions == ["Uniform in [-1.5, 1.5]", "Box, each dimension alone", "Independent normals"]


def with_decoder(study):
    return dataclasses.replace(study, inputs=dataclasses.replace(study.inputs, decode=decode))


def frames(path):
    """Give the frames of an animation of such images, in their original pixels."""
    with Image.open(path) as animation:
        shown = [animation.seek(i) or np.asarray(animation.convert("RGB")) for i in range(animation.n_frames)]
    return [frame[::27, ::27].astype(int) for frame in shown]


def test_walks_go_where_they_say(with_images, tmp_path):
    section = walks(dataclasses.replace(with_images, folder=tmp_path))
    assert texts(with_images.figures["traversals"])[:6] == [f"component {i}" for i in range(1, 7)]
    assert texts(with_images.figures["paths"]) == [
        "between two images",
        "between two draws",
        "around 1 and 2",
        "around 2 and 3",
        "around 3 and 4",
    ]
    straight, circle = (frames(path) for path, *_ in section.pictures[2:])
    # The animation goes there and back: the other image is shown half-way.
    first, last = decode(with_images.latents[[0, 1_500]]).astype(int)
    np.testing.assert_array_equal(straight[0], first)
    assert min(np.abs(frame - last).max() for frame in straight) <= 1
    # Opposite points of the ellipse have the centre between them.
    centre = decode(with_images.mean[None])[0]
    assert np.abs((circle[0] + circle[len(circle) // 2]) / 2 - centre).max() <= 2


def test_a_walk_is_one_sheet_of_the_images_on_the_way(with_images, tmp_path):
    def flat(latents):
        return np.broadcast_to(
            (128 + 5 * latents[:, :1, None, None]).astype(np.uint8), (len(latents), 8, 8, 1)
        )

    study = dataclasses.replace(with_images, folder=tmp_path)
    step = 2 * np.eye(8)[0]
    walk = study.walk("first", flat, step, "component 1")
    assert (walk.rows, walk.columns, walk.low, walk.high) == (4, 25, -3, 3)
    with Image.open(walk.sheet) as sheet:
        grey = np.asarray(sheet.convert("L"))[4::8, 4::8].astype(float)
    starts = np.concatenate([study.mean[None], study.drawn_latents[:3]])[:, :1]
    np.testing.assert_allclose(grey, 128 + 5 * (starts + 2 * np.linspace(-3, 3, 25)), atol=4)


# --- attributes --------------------------------------------------------------------------------------


def test_attributes_are_clusters_or_shifts(with_images, tmp_path):
    random = np.random.default_rng(0)
    cluster, shift = random.random(4_000) < 0.4, random.random(4_000) < 0.5
    latents = random.normal(size=(4_000, 8)).astype(np.float32)
    latents[:, 0] += 6 * cluster
    latents[:, 1] += shift
    known = {"<hat>": cluster, "smiling": shift, "taller": latents[:, 2] > 0}
    inputs = dataclasses.replace(
        with_images.inputs, latents=latents, directions=el.directions(latents, known)
    )
    section = attributes(dataclasses.replace(with_images, inputs=inputs, folder=tmp_path))
    assert {row[0]: row[-1] for row in section.table[1:]} == {
        "<hat>": "cluster",
        "smiling": "shift",
        "taller": "shift",  # almost without overlap, yet one cloud that was cut in two
    }
    assert "1 of these 3 attributes forms a cluster (<hat>); the others are shifts." in section.text
    assert section.table[1][2].startswith("1.000 ± 0.000")
    assert [walk.label for walk in section.walks] == ["<hat>", "taller", "smiling"]
    assert [path.stem for path, _ in section.pictures] == ["directions", "attributes"]
    inputs = dataclasses.replace(inputs, decode=None)
    section = attributes(dataclasses.replace(with_images, inputs=inputs))
    assert section.walks == []
    assert len(section.pictures) == 1


def test_two_peaks_are_seen_and_none_made_of_noise():
    random = np.random.default_rng(0)
    for n in (100, 1_000, 10_000):
        clouds = random.normal(size=(30, n)), random.uniform(size=(30, n)), random.exponential(size=(30, n))
        assert not any(has_two_peaks(rows) for cloud in clouds for rows in cloud)
        two = random.normal(size=n) + 5 * (random.random(n) < 0.3)
        # With a hundred rows no valley is beyond doubt.
        assert has_two_peaks(two) == has_two_peaks(np.append(two, 1e9)) == (n > 100)
    assert not has_two_peaks(np.zeros(50))


# --- the evaluation ----------------------------------------------------------------------------------


@pytest.fixture
def evaluated(with_images, tmp_path, monkeypatch):
    """A study of a run that was evaluated for two goals of three, and one of its figures."""
    state = with_images.state
    narrow, wide = DrawSettings("normal", 1.5, region="box"), DrawSettings("uniform", 2.25)
    recommended = {
        "fidelity": Recommendation("fidelity", state.truncate(3), narrow, "Sharp."),
        "diversity": Recommendation("diversity", state, wide, "Wide."),
    }
    monkeypatch.setattr(evaluation, "load_recommendation", lambda run, goal: recommended.get(goal))
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "equal_precision.png").write_bytes(b"")
    return dataclasses.replace(with_images, inputs=dataclasses.replace(with_images.inputs, run=tmp_path))


def test_an_evaluation_shows_its_recommendations_and_draws_by_them(evaluated):
    section = evaluation.evaluation(evaluated)
    assert "Fidelity. Sharp.\n\nDiversity. Wide." in section.text
    assert [path.name for path, *_ in section.pictures] == ["recommended.png", "equal_precision.png"]
    labels = texts(evaluated.figures["recommended"])
    assert labels == ["fidelity: normal, box, K 3, 1.5", "diversity: uniform, 2.25"]
    options = {"law": "normal", "level": 1.5, "fact": 1.0, "region": "box"}
    assert evaluated.sampled[0] == (12, 3, options)
    assert set(GOALS) > {"fidelity", "diversity"}


def test_an_evaluation_of_something_else_says_so(evaluated, monkeypatch):
    def fail(run, goal):
        raise ValueError("state.npz is not the one that was evaluated")

    monkeypatch.setattr(evaluation, "load_recommendation", fail)
    section = evaluation.evaluation(evaluated)
    assert section.text.endswith("cannot be used: state.npz is not the one that was evaluated.")
    assert not section.pictures
    monkeypatch.setattr(evaluation, "load_recommendation", lambda run, goal: None)
    assert evaluation.evaluation(evaluated) is None


# --- numbers -----------------------------------------------------------------------------------------


def test_components_that_vary_are_shown(study):
    section = components(study)
    distance = study.diagnostics.principal.distance
    assert f"{np.median(distance):.1%} in the median principal component" in section.text
    assert f"{distance.max():.1%} in the worst" in section.text
    titles = [axes.get_title("left") for axes in study.figures["components_original"].axes]
    assert titles == [f"latent dimension {i}" for i in (1, 2, 3, 5, 7, 8)]  # the sixth is dead
    assert "half-width: core" in legend(study.figures["components_pca"])
    assert "half-width: histogram_raw" not in legend(study.figures["components_pca"])
    assert "half-width: histogram_raw" in legend(study.figures["spectrum"])
    statistics = study.figures["dimension_statistics"].axes[0]
    assert len(statistics.lines[0].get_xdata()) == 7


def test_location_names_the_dimensions_that_carry_the_offset(study, latents):
    section = location(study)
    mean = latents.mean(axis=0, dtype=np.float64)
    largest = np.argsort(-(mean**2))[:3]
    assert f"Their centre is {np.linalg.norm(mean):.3g} latent units" in section.text
    assert f"Dimensions {', '.join(str(i + 1) for i in largest)} carry" in section.text
    assert legend(study.figures["distances_origin"]) == [
        "latents",
        "uniform in ±0.25",
        "uniform in ±0.5",
        "uniform in ±1.5",
        "independent normals",
    ]
    laws = ["redraw", "sequential", "uniform", "normal"]
    assert [options["law"] for _, _, options in study.sampled] == laws
    groups = ["latents", *(f"law {law}" for law in laws), "independent normals"]
    assert legend(study.figures["distances_centre"]) == groups


def test_correlations_are_gone_unless_the_state_is_of_others(study):
    section = correlations(study)
    assert "4 and 7 (−1.00)" in section.text
    assert "between principal components is " in section.text
    assert "which is zero up to rounding." in section.text
    turned = np.array(study.diagnostics.covariance_after)
    turned[0, 1] = turned[1, 0] = 0.5 * math.sqrt(turned[0, 0] * turned[1, 1])
    changed = dataclasses.replace(study.diagnostics, covariance_after=turned)
    section = correlations(dataclasses.replace(study, diagnostics=changed))
    assert (
        "between the state's components is 0.50, so its axes are not quite those of these latents"
        in section.text
    )


def test_ellipses_of_the_worst_pairs_are_shown_and_none_of_dimensions_that_are_one(study):
    section = ellipses(study)
    pairs = study.diagnostics.calibration
    level_2 = pairs.of_pairs[list(pairs.levels).index(2.0)]
    assert "and 86.5% of a Gaussian" in section.text
    expected = (
        f"Over all 15 pairs of principal components, the ellipse of level 2 holds {np.median(level_2):.1%}"
    )
    assert expected in section.text
    worst = diagnostics.strongest_pairs(pairs.errors, 3)
    assert legend(study.figures["calibration"])[4:] == [f"{i + 1}, {j + 1}" for i, j in worst]
    shown = {(axes.get_xlabel(), axes.get_ylabel()) for axes in study.figures["contours_original"].axes}
    assert len(shown) == 3
    assert ("latent dimension 4", "latent dimension 7") not in shown
    planes = {(axes.get_xlabel(), axes.get_ylabel()) for axes in study.figures["contours_pca"].axes}
    assert {("component 1", "component 2"), ("component 1", "component 4")} <= planes


def test_normality_says_what_was_measured(study):
    measured = study.diagnostics
    section = normality(study)
    for share, level in measured.levels_holding.items():
        assert (
            f"{share:.0%} at level {level:.2f} (a Gaussian: {measured.gaussian_levels[share]:.2f})"
            in section.text
        )
    assert f"spread {measured.distances.spread:.2f} times as wide as a Gaussian's" in section.text
    assert f"{measured.distances.core_share:.0%} of the latents belong to one Gaussian core" in section.text
    assert f"Mardia's kurtosis is {measured.normality.kurtosis_ratio:.3f} times a Gaussian's" in section.text
    distances = dataclasses.replace(measured.distances, core_share=math.nan)
    fewer = dataclasses.replace(measured, normality=None, distances=distances)
    text = normality(dataclasses.replace(study, diagnostics=fewer)).text
    assert "core" not in text
    assert "Mardia" not in text


def test_ellipses_of_latent_dimensions_miss_the_latents(study):
    section = principal_frame(study)
    ratios, of_draws, _ = study.figures["overshoot"].axes[0].lines
    overshoot, evenly = ratios.get_ydata(), of_draws.get_ydata()
    assert overshoot.max() / overshoot.min() > 5 * np.max(evenly) / np.min(evenly)
    component = int(np.argmax(overshoot))
    expected = f"along component {component + 1} the points spread {overshoot[component]:.3g} times"
    assert expected in section.text


def test_dependence_names_the_strongest_pair(study):
    measured = study.diagnostics.dependence
    section = dependence(study)
    i, j = diagnostics.strongest_pairs(measured.distance, 1)[0]
    assert f"is {measured.distance[i, j]:.2f}, between components {i + 1} and {j + 1};" in section.text
    first = study.figures["dependent_pairs"].axes[0]
    assert (first.get_xlabel(), first.get_ylabel()) == (f"component {i + 1}", f"component {j + 1}")


def test_draws_are_compared_with_the_latents(study):
    section = draws_and_data(study)
    ratio = np.median(study.drawn_scores.std(axis=0) / study.scores.std(axis=0))
    assert f"{ratio:.2f} times that of the latents in the median component" in section.text
    assert section.pictures[2][1].startswith("400 draws compared with the latents")
    assert legend(study.figures["planes_pca"])[:2] == ["latents (3,000)", "generated (20)"]


# --- the autoencoder ---------------------------------------------------------------------------------


def test_the_autoencoder_shows_images_that_it_has_not_seen_if_there_are_any(with_images):
    assert autoencoder(with_images).pictures[0][1].startswith("Training images, and their reconstructions")
    history = [{"epoch": 1, "train_loss": 0.5}]
    inputs = dataclasses.replace(with_images.inputs, test_images=with_images.inputs.images, history=history)
    captions = [
        caption for _, caption, *_ in autoencoder(dataclasses.replace(with_images, inputs=inputs)).pictures
    ]
    assert captions[0].startswith("Unseen images, and their reconstructions")
    assert captions[1] == "Mean squared error in each epoch"


def test_draws_that_are_copies_lie_nearer_than_other_images(with_images, latents):
    """The other images are reconstructions, as smooth as draws; they do not count as copies of themselves."""
    own = neighbours(with_images)
    assert (
        "reconstructions of training images, compared with training images other than their own" in own.text
    )
    assert "lie within 0.0" in own.text
    assert "lie within 0.000" not in own.text
    copies = dataclasses.replace(with_images, drawn_latents=latents[:256])
    assert "100.0% of the draws lie within" in neighbours(copies).text
    # A training image is no copy of itself, but as an unseen one it would be.
    inputs = dataclasses.replace(with_images.inputs, test_images=with_images.inputs.images)
    unseen = neighbours(dataclasses.replace(copies, inputs=inputs))
    assert "1% of reconstructions of unseen images, which are as smooth" in unseen.text
    assert "0.0% of the draws lie within 0.000 of a training image" in unseen.text
    assert legend(with_images.figures["nearest_distances"])[0] == "draws"


# --- what chapters share -------------------------------------------------------------------------------


def test_few_of_many():
    assert evenly_spaced(100, 5) == [0, 25, 50, 74, 99]
    assert evenly_spaced(3, 6) == [0, 1, 2]
    assert distinct_pairs([(0, 1), (2, 2), (0, 1), (-1, 0), (1, 3), (0, 2)], 2) == [(0, 1), (1, 3)]


def test_a_study_draws_once_by_the_default_law(numbers, tmp_path):
    study = make_study(numbers.inputs, numbers.diagnostics, numbers.advice, tmp_path, key=el.key(0))
    assert study.drawn_latents.shape == (N_DRAWS, 8)
    assert study.drawn_scores.shape == (N_DRAWS, 6)
    assert np.abs(study.drawn_scores / study.scale).max() <= el.DEFAULT_LEVEL * (1 + 1e-6)
    again = make_study(numbers.inputs, numbers.diagnostics, numbers.advice, tmp_path, key=el.key(0))
    np.testing.assert_array_equal(study.sample(5), again.sample(5))
    assert (study.sample(5) != study.drawn_latents[:5]).any()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_ladder_climbs_from_noise_to_reconstructions(study, monkeypatch):
    seen = {}

    def strips(rows, labels):
        seen.update(zip(labels, rows, strict=True))
        return "figure"

    monkeypatch.setattr("ellipsoid.figures.strips", strips)
    velocity = untrained(el.key(0), study.state.n_components, 0, width=8, depth=1)
    flow = el.Flow(study.state, velocity, study.state.scale, np.float32(1), np.zeros(0), n_steps=2)
    inputs = dataclasses.replace(
        study.inputs,
        decode=decode,
        shapes={"state": study.state, "flow": flow},
        test_latents=study.latents[:50],
    )
    section = ladder(dataclasses.replace(study, inputs=inputs))
    assert [label.split("\n")[0] for label in seen] == [
        "random box",
        "independent normals",
        "one ellipsoid, redraw at 1.645",
        "flow",
        "reconstructions",
    ]
    assert all("precision" in label for label in seen)
    assert "50 unseen images" in section.text
    recall = {label.split("\n")[0]: float(label.split()[-1]) for label in seen}
    assert recall["reconstructions"] > recall["one ellipsoid, redraw at 1.645"]


def test_a_shape_that_was_chosen_by_latents_is_not_said_to_be_judged_by_images(
    with_images, tmp_path, monkeypatch
):
    state = with_images.state

    def chosen(run, goal):
        return Recommendation(goal, state, DrawSettings("normal", 3.0), "By 50 latents that were held out.")

    monkeypatch.setattr("ellipsoid.report.chapters.evaluation.load_recommendation", chosen)
    inputs = dataclasses.replace(with_images.inputs, run=tmp_path)
    section = evaluation.evaluation(dataclasses.replace(with_images, inputs=inputs, folder=tmp_path))
    assert section.title == "How the run draws"
    assert section.text == "Which shape do draws come from, and why? By 50 latents that were held out."
    assert not section.table
