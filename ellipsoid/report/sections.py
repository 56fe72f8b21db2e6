"""The sections of a report: what was measured of some latents, in words and pictures."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.random as jr
import numpy as np
from matplotlib.figure import Figure

import ellipsoid as el
from ellipsoid import diagnostics, figures
from ellipsoid.diagnostics import Diagnostics, Marginals
from ellipsoid.evaluation.recommend import GOALS, Recommendation, load_recommendation
from ellipsoid.halfwidth import HALF_WIDTHS, half_widths
from ellipsoid.report.page import Section

#: The source's level and its range of facts, and one above it for comparison.
LEVEL = 2.35
FACTS = (0.6, 0.7, 0.8, 1.0)
#: Draws that are compared with the latents.
N_DRAWS = 10_000


@dataclass(frozen=True)
class ReportInputs:
    """What a report is about.

    Attributes
    ----------
    state : PCAState
    latents : ndarray, shape (n, D)
        Of the training images.
    decode, encode : callable, optional
        From latents (n, D) to uint8 images (n, H, W, C), and back.
    images, test_images : (n, H, W, C) uint8 arrays, optional
        Those of the latents, in any number and order, and others that the autoencoder has never seen.
    history : sequence of dict
        Losses over the epochs.
    run : Path, optional
        Folder of the run, which may have been evaluated.
    """

    state: el.PCAState
    latents: np.ndarray
    decode: Callable[[np.ndarray], np.ndarray] | None = None
    encode: Callable[[np.ndarray], np.ndarray] | None = None
    images: np.ndarray | None = None
    test_images: np.ndarray | None = None
    history: Sequence[dict[str, Any]] = ()
    run: Path | None = None


class Sections:
    """The sections of a report, each a method; None where there is nothing to show it with."""

    def __init__(self, folder: Path, material: ReportInputs, found: Diagnostics, key: jax.Array):
        self.folder, self.material, self.found = folder, material, found
        self.state, self.latents, self.scores = material.state, material.latents, found.scores
        self.scale = np.asarray(self.state.scale, np.float64)
        # From sums in float64: those of float32 numbers far from zero would be far off.
        self.mean, self.std = found.original.mean, found.original.std
        self.draw_key, self.trial_key, self.table_key, self.walk_key = jr.split(key, 4)
        draws = el.sample(self.draw_key, self.state, N_DRAWS)
        self.draws, self.drawn = np.asarray(draws.latents), np.asarray(draws.scores)

    @property
    def in_order(self) -> tuple[Callable[[], Section | None], ...]:
        """What makes the sections, in the order of the page."""
        return (
            self.new_images,
            self.evaluation,
            self.without_the_region,
            self.components,
            self.place,
            self.correlations,
            self.ellipses,
            self.normality,
            self.principal_frame,
            self.beyond_correlation,
            self.draws_and_data,
            self.walks,
            self.autoencoder,
            self.neighbours,
        )

    # --- pieces ---

    def picture(self, name: str, figure: Figure, caption: str, *, drawing: bool = True) -> tuple[Path, str]:
        """Save a figure as PNG, and as SVG if it is a drawing; its path and caption."""
        path = figures.save(figure, self.folder / f"{name}.png")
        if drawing:
            figure.set_layout_engine("none")  # it is laid out, and would be so twice more for another file
            figures.save(figure, self.folder / f"{name}.svg")
        return path, caption

    def sheet(self, name: str, figure: Figure, caption: str) -> tuple[Path, str]:
        """Save a figure of images."""
        return self.picture(name, figure, caption, drawing=False)

    def sample(self, n: int, state: el.PCAState | el.Mixture | None = None, **options: Any) -> np.ndarray:
        """Latents of n draws, by default of the whole state."""
        return np.asarray(el.sample(self.table_key, state or self.state, n, **options).latents)

    def trials(self, n: int) -> dict[str, np.ndarray]:
        """Latents of generators that miss the region, by the name of the trial.

        The first throws numbers at the whole space; the other two know each latent component's own mean and
        standard deviation, but nothing of how the components go together.
        """
        cube_key, box_key, normal_key = jr.split(self.trial_key, 3)
        shape = (n, self.state.n_features)
        places = np.asarray(jr.uniform(box_key, shape, minval=-1.0, maxval=1.0))
        return {
            "uniform in [-1.5, 1.5]": np.asarray(jr.uniform(cube_key, shape, minval=-1.5, maxval=1.5)),
            "box, each dimension alone": self.mean + self.std * el.DEFAULT_LEVEL * places,
            "independent normals": self.mean + self.std * np.asarray(jr.normal(normal_key, shape)),
        }

    # --- sections ---

    def new_images(self) -> Section | None:
        """Show draws, by law, level and number of components."""
        decode = self.material.decode
        if decode is None:
            return None
        k = self.state.n_components
        counts = sorted({max(2, k // 4), max(2, k // 2), k})
        table = [
            [decode(self.sample(9, self.state.truncate(count), level=LEVEL, fact=fact)) for fact in FACTS]
            for count in counts
        ]
        matched, most = el.matched_level(k, law="uniform"), self.found.levels_holding[0.9]
        laws = [
            ("redraw", el.DEFAULT_LEVEL),
            ("sequential", el.DEFAULT_LEVEL),
            ("uniform", el.DEFAULT_LEVEL),
            ("uniform", matched),
            ("normal", most),
        ]
        return Section(
            "New images",
            "Latent vectors drawn inside the confidence ellipse of every pair of principal components, "
            "decoded. Draws that stay near the average are safer, and more alike.",
            [
                self.sheet(
                    "generated",
                    figures.image_grid(decode(self.draws[:48]), columns=12),
                    f"48 draws of the law redraw at level {el.DEFAULT_LEVEL:g}",
                ),
                self.sheet(
                    "laws",
                    figures.strips(
                        [decode(self.sample(8, law=law, level=level)) for law, level in laws],
                        [f"{law}, {level:.3g}" for law, level in laws],
                    ),
                    f"Laws and levels. At {matched:.3g} the law uniform has the variance of the "
                    f"latents; level {most:.3g} holds nine tenths of them",
                ),
                self.sheet(
                    "components_and_facts",
                    figures.grid_table(
                        table, [f"{count} components" for count in counts], [f"fact {f:g}" for f in FACTS]
                    ),
                    f"Draws by number of components and fact. Level {LEVEL} times the fact is the "
                    "half-width of every ellipse in standard deviations; few components leave out detail",
                ),
            ],
        )

    def evaluation(self) -> Section | None:
        """Show what an evaluation of the run found, and what it recommends."""
        decode, run = self.material.decode, self.material.run
        if decode is None or run is None:
            return None
        title, pictures = "How good the images are", []
        try:
            found = [load_recommendation(run, goal) for goal in GOALS]
        except ValueError as error:
            return Section(title, f"This run has been evaluated, but what was found is of no use: {error}.")
        recommended = [best for best in found if best is not None]
        if not recommended:
            return None
        for name, caption in (
            ("fidelity_diversity", "Fidelity and diversity of every way to draw, as its draws spread"),
            ("equal_precision", "Images of every way to draw, at about the same precision"),
        ):
            path = run / "evaluation" / f"{name}.png"
            if path.is_file():
                pictures.append((path, caption))
        drawn = [decode(self.sample(12, best.state, **best.options)) for best in recommended]
        labels = [f"{best.goal}: {self._way_to_draw(best)}" for best in recommended]
        sheet = self.sheet("recommended", figures.strips(drawn, labels), "Draws as recommended for each goal")
        return Section(
            title,
            "Measured against images that the autoencoder was not trained on, and recommended:\n\n"
            + "\n\n".join(f"{best.goal.capitalize()}. {best.reason}" for best in recommended),
            [sheet, *pictures],
        )

    def _way_to_draw(self, best: Recommendation) -> str:
        words = [f"{best.state.n_parts} parts"] if isinstance(best.state, el.Mixture) else []
        words += [best.law] if best.region == "pairwise" else [best.law, best.region]
        words += [f"K {best.n_components}"] if best.n_components != self.state.n_components else []
        return ", ".join([*words, f"{best.level:.3g}"])

    def without_the_region(self) -> Section | None:
        """Show what generators decode to that know nothing of the region."""
        decode = self.material.decode
        if decode is None:
            return None
        return Section(
            "What goes wrong without the region",
            "The same decoder, fed with latents that ignore where the training latents lie.",
            [
                self.sheet(
                    f"trial_{i}", figures.image_grid(decode(z), columns=12), name[0].upper() + name[1:]
                )
                for i, (name, z) in enumerate(self.trials(24).items(), 1)
            ],
        )

    def components(self) -> Section | None:
        """Look at each component by itself."""
        found, n = self.found, self.found.n
        first = _spread(found.n_components, 6)
        alive = np.flatnonzero(found.original.std > 0)
        original = [int(alive[place]) for place in _spread(len(alive), 6)]
        rows = diagnostics.subset(self.scores, diagnostics.PAIR_ROWS)
        widths = {name: half_widths(rows, name) for name in HALF_WIDTHS}
        if found.distances.core_scale is not None:
            widths["core"] = found.distances.core_scale
        rows_before = diagnostics.subset(self.latents[:, original], diagnostics.PAIR_ROWS)
        noise = {
            "skewness": 2 * math.sqrt(6 / n),
            "kurtosis": 2 * math.sqrt(24 / n),
            "distance": 0.886 / math.sqrt(n),  # 95 % of Lilliefors' statistic
            "anderson_darling": 0.752,
        }

        def statistics(of: Marginals, label: str) -> Figure:
            names = ("skewness", "kurtosis", "distance", "anderson_darling")
            numbers = {name: getattr(of, name)[of.std > 0] for name in names}
            return figures.component_statistics(**numbers, noise=noise, label=label)

        return Section(
            "Components",
            "Numbers of latents by value, with the Gaussian of the same mean and standard deviation. "
            "The share of the latents below any value differs from the Gaussian's by at most "
            f"{np.median(found.principal.distance):.1%} in the median principal component, and "
            f"{found.principal.distance.max():.1%} in the worst: the Kolmogorov distance.\n\n"
            "Each half-width method reads the standard deviation of a Gaussian core; they agree where a "
            "component is Gaussian. Intervals of one width for all components (histogram_raw) cannot "
            "resolve the narrow ones.",
            [
                self.picture(
                    "components_pca",
                    figures.components(
                        self.scores[:, first],
                        [f"component {i + 1}" for i in first],
                        {name: widths[name][first] for name in widths if name != "histogram_raw"},
                        skewness=found.principal.skewness[first],
                        kurtosis=found.principal.kurtosis[first],
                    ),
                    "Principal components, with the half-widths at half maximum that the methods read",
                ),
                self.picture(
                    "components_original",
                    figures.components(
                        self.latents[:, original],
                        [f"latent dimension {i + 1}" for i in original],
                        {
                            name: half_widths(rows_before, name)
                            for name in HALF_WIDTHS
                            if name != "histogram_raw"
                        },
                        skewness=found.original.skewness[original],
                        kurtosis=found.original.kurtosis[original],
                    ),
                    "Dimensions of the latents, before the rotation",
                ),
                self.picture(
                    "component_statistics",
                    statistics(found.principal, "component"),
                    "What sets each principal component apart from a Gaussian. Anderson and Darling's "
                    f"statistic is that of {min(n, diagnostics.TEST_ROWS):,} latents",
                ),
                self.picture(
                    "dimension_statistics",
                    statistics(found.original, "latent dimension that varies"),
                    "The same of each latent dimension, before the rotation",
                ),
                self.picture(
                    "spectrum",
                    figures.spectrum(found.principal.std, widths, found.original.std),
                    "Standard deviation of each component, and how each half-width method reads it",
                ),
                self.picture(
                    "explained_variance",
                    figures.explained_variance(self.state),
                    "Explained variance, of each component and of the first together",
                ),
            ],
        )

    def place(self) -> Section | None:
        """Show where the latents lie, and where generators place their points."""
        place = self.found.location
        random = np.random.default_rng(0)
        shape = (2_000, self.state.n_features)
        latents = {"latents": diagnostics.subset(self.latents, diagnostics.PAIR_ROWS)}
        normals = {"independent normals": self.trials(shape[0])["independent normals"]}
        spaces = {f"uniform in ±{b:g}": random.uniform(-b, b, size=shape) for b in (0.25, 0.5, 1.5)}
        laws = ("redraw", "sequential", "uniform", "normal")
        draws = {f"law {law}": self.sample(shape[0], law=law) for law in laws}
        largest = np.argsort(-place.shares)[:3]
        share = place.shares[largest].sum()
        listed = ", ".join(str(i + 1) for i in largest)
        return Section(
            "Where the region lies",
            f"The centre of the latents is {place.distance:.3g} latent units from the origin, and half of "
            f"the latents are within {place.radius:.3g} of the centre. Dimensions {listed} carry "
            f"{share:.0%} of the squared offset. Numbers thrown at the whole space do not know how far out "
            "the latents lie, nor in which direction.",
            [
                self.picture(
                    "distances_origin",
                    figures.plot_distances(
                        {name: np.linalg.norm(z, axis=1) for name, z in (latents | spaces | normals).items()},
                        xlabel="distance from the origin (latent units)",
                    ),
                    "Distances from the origin: latents, and generators that do not know their region",
                ),
                self.picture(
                    "distances_centre",
                    figures.plot_distances(
                        {
                            name: np.linalg.norm(z - self.mean, axis=1)
                            for name, z in (latents | draws | normals).items()
                        },
                        xlabel="distance from the centre of the latents (latent units)",
                    ),
                    f"Distances from the centre of the latents: latents, and each law at level "
                    f"{el.DEFAULT_LEVEL:g}",
                ),
                self.picture(
                    "offset",
                    figures.offset(np.abs(place.offset), place.shares),
                    "Offset of each latent dimension from zero, and its share in the squared distance",
                ),
            ],
        )

    def correlations(self) -> Section | None:
        """Compare all pairs before and after the rotation."""
        before, after = (
            diagnostics.correlation(covariance)
            for covariance in (self.found.covariance_before, self.found.covariance_after)
        )
        angles, weights = [], []
        for covariance, r in ((self.found.covariance_before, before), (self.found.covariance_after, after)):
            upper = np.triu_indices(len(r), 1)
            angles.append(diagnostics.pair_angles(covariance)[upper])
            variance = covariance.diagonal()
            i, j = upper
            # How far from a circle: the difference of the two variances of the ellipse, over their sum.
            apart = np.hypot(variance[i] - variance[j], 2 * covariance[upper])
            weights.append(apart / np.maximum(variance[i] + variance[j], np.finfo(float).tiny))
        strongest = "; ".join(
            f"{i + 1} and {j + 1} by {before[i, j]:.2f}" for i, j in diagnostics.strongest_pairs(before, 3)
        )
        left = np.abs(after[np.triu_indices(len(after), 1)]).max()
        return Section(
            "Correlations",
            f"The most strongly correlated dimensions of the latents: {strongest}. The strongest correlation "
            + (
                f"of principal components is {left:.0e}: none. The ellipse of every pair of them lies along "
                "the axes, at 0 or 90 degrees."
                if left < 1e-3
                else f"of the state's components is {left:.2f}: its axes are not quite those of these "
                "latents, as they were fitted to others or to the core."
            ),
            [
                self.picture(
                    "correlations",
                    figures.correlation_matrices(before, after),
                    "Correlations of all pairs, before and after the rotation",
                ),
                self.picture(
                    "angles",
                    figures.plot_pair_angles(*angles, weights=(weights[0], weights[1])),
                    "Angle of each pair's ellipse; by weight, the longer an ellipse the more it counts",
                ),
            ],
        )

    def ellipses(self) -> Section | None:
        """Hold the ellipses of all pairs against the latents."""
        pairs = self.found.calibration
        worst = diagnostics.strongest_pairs(pairs.errors, 3)
        planes = _unique([(0, 1), *worst, (0, self.found.n_components // 2)], 6)
        before = diagnostics.correlation(self.found.covariance_before)
        pairs_before = diagnostics.strongest_pairs(before, before.size)
        # Dimensions that are one and the same have no contours.
        strongest = [(i, j) for i, j in pairs_before if abs(before[i, j]) < 1 - 1e-6][:3]
        contours = [diagnostics.half_maximum(self.scores[:, plane]) for plane in planes]
        error = max(contour.ellipticity_error for contour in contours)
        gaussian = np.random.default_rng(0).normal(size=(len(planes), self.found.n, 2))
        usual = max(diagnostics.half_maximum(points).ellipticity_error for points in gaussian)
        level_2 = int(np.argmin(np.abs(pairs.levels - 2)))
        return Section(
            "Ellipses",
            f"A Gaussian has {pairs.expected[level_2]:.1%} of its points inside the ellipse of level 2. "
            f"Over all {pairs.of_pairs.shape[1]:,} pairs of principal components the latents have "
            f"{np.median(pairs.of_pairs[level_2]):.1%} there in the median, and from "
            f"{pairs.of_pairs[level_2].min():.1%} to {pairs.of_pairs[level_2].max():.1%}. At half of "
            "the largest density the contours of the planes below depart from an ellipse by up to "
            f"{error:.1%} of their radius (root mean square); those of as many Gaussian points by "
            f"{usual:.1%}.",
            [
                self.picture(
                    "calibration",
                    figures.plot_calibration(
                        pairs.levels,
                        pairs.expected,
                        pairs.of_pairs,
                        worst=[(f"{i + 1}, {j + 1}", pairs.observed[:, i, j]) for i, j in worst],
                    ),
                    "Share of the latents inside each pair's ellipse, against a Gaussian's, for all pairs",
                ),
                self.picture(
                    "contours_pca",
                    figures.density_contours(
                        self.scores,
                        planes,
                        covariances=np.stack([np.diag(self.scale[list(plane)] ** 2) for plane in planes]),
                        names=[f"component {i + 1}" for i in range(self.found.n_components)],
                    ),
                    "Density of the first and of the worst pairs of principal components, with their "
                    "confidence ellipses",
                ),
                self.picture(
                    "contours_original",
                    figures.density_contours(
                        self.latents,
                        strongest,
                        names=[f"latent dimension {i + 1}" for i in range(self.found.n_features)],
                    ),
                    "Density of the most strongly correlated pairs of latent dimensions",
                ),
            ],
        )

    def normality(self) -> Section | None:
        """Look at the distances over all components, and at the level that all pairs need."""
        found, tests = self.found, self.found.normality
        k = found.n_components
        levels = np.linspace(0.05, 1.1 * max(found.gauges.max(), found.gaussian_levels[0.99]), 200)
        coverage = np.array([el.joint_coverage(level, k) for level in levels])
        table = "; ".join(
            f"{share:.0%} at {found.levels_holding[share]:.2f} (a Gaussian: "
            f"{found.gaussian_levels[share]:.2f})"
            for share in diagnostics.SHARES
        )
        text = (
            f"The latents meet all pair conditions: {table}.\n\nFrom the 10% to the 90% quantile, the "
            f"squared distances from the centre spread {found.distances.spread:.2f} times as wide as a "
            "Gaussian's."
        )
        if not math.isnan(found.distances.core_share):
            text += (
                f" {found.distances.core_share:.0%} of the latents belong to one Gaussian core, the others "
                "to its outskirts."
            )
        if tests is not None:
            text += (
                f"\n\nTests on {tests.n:,} latents: Mardia's kurtosis is {tests.kurtosis_ratio:.3f} of a "
                f"Gaussian's (p = {tests.kurtosis_p:.2g}), his skewness has p = {tests.skewness_p:.2g}; "
                f"Henze and Zirkler's statistic of the first {min(k, diagnostics.LEADING)} components is "
                f"{tests.henze_zirkler:.3g}, where a Gaussian has {tests.henze_zirkler_expected:.3g} (p = "
                f"{tests.henze_zirkler_p:.2g}). With so many latents small departures are significant; what "
                "matters is their size."
            )
        return Section(
            "All components at once",
            text,
            [
                self.picture(
                    "mahalanobis",
                    figures.mahalanobis(found.distances.squares, k, found.distances.core_squares),
                    "Squared distances from the centre against those of a Gaussian; once in the state's "
                    "half-widths, once by the mean and covariance of the core",
                ),
                self.picture(
                    "gauge",
                    figures.plot_gauge(found.gauges, levels, coverage, found.levels_holding),
                    "Share of the latents that meet all pair conditions at a level, beside a Gaussian",
                ),
            ],
        )

    def principal_frame(self) -> Section | None:
        """Show why the ellipses are not taken in the frame of the latents themselves."""
        walked = self.mean + diagnostics.original_frame_points(
            self.walk_key, self.found.covariance_before, el.DEFAULT_LEVEL, 512
        )
        std = self.found.principal.std
        walked_scores = np.asarray(self.state.project(walked))
        drawn = self.sample(2_000, law="uniform")
        overshoot = walked_scores.std(axis=0) / std
        ratios = {
            "ellipses of latent dimensions": overshoot,
            "ellipses of components": np.asarray(self.state.project(drawn)).std(axis=0) / std,
        }
        planes = [
            (0, 1),
            (0, self.found.n_components - 1),
            (self.found.n_components - 2, self.found.n_components - 1),
        ]
        pictures = [
            self.picture(
                "overshoot",
                figures.overshoot(ratios),
                "Width of both along each principal component, over the width of the latents",
            ),
            self.picture(
                "original_frame",
                figures.latent_planes(
                    self.state, self.latents, walked, level=el.DEFAULT_LEVEL, planes=_unique(planes, 3)
                ),
                "Points inside all ellipses of latent dimensions, in planes of principal components",
            ),
        ]
        if self.material.decode is not None:
            pictures.append(
                self.sheet(
                    "original_frame_images",
                    figures.image_grid(self.material.decode(walked[:24]), columns=12),
                    "What points inside all ellipses of latent dimensions decode to",
                )
            )
        return Section(
            "Why the principal components",
            "Every pair of latent dimensions has a confidence ellipse as well. Points that lie inside all "
            f"of those, at the same level {el.DEFAULT_LEVEL:g}, are here drawn evenly by a random walk. "
            "Ellipses of two dimensions know nothing of directions in which many dimensions work together: "
            f"along component {overshoot.argmax() + 1} the points spread {overshoot.max():.3g} times as "
            f"wide as the latents, and along component {overshoot.argmin() + 1} {overshoot.min():.3g} times.",
            pictures,
        )

    def beyond_correlation(self) -> Section | None:
        """Look for dependence that no rotation takes away."""
        ties = self.found.dependence
        count = len(ties.distance)
        pairs = diagnostics.strongest_pairs(ties.distance, min(3, count * (count - 1) // 2))
        i, j = pairs[0]
        return Section(
            "What a rotation leaves behind",
            f"Uncorrelated components may still depend on each other. Of the pairs of the first {count} "
            f"components, the strongest distance correlation is {ties.distance[i, j]:.2f}, of "
            f"components {i + 1} and {j + 1}; independent ones stay below {ties.distance_bound:.2f}, "
            "with 95% probability for all pairs together. Correlated squares show a width that "
            "components share: rows that are far out in one are far out in others.",
            [
                self.picture(
                    "dependence",
                    figures.plot_dependence(ties.squares, ties.distance, ties.squares_bound, ties.distance_bound),
                    "Dependence of all pairs of the leading components",
                ),
                self.picture(
                    "dependent_pairs",
                    figures.pairs_scatter(
                        self.scores,
                        pairs,
                        [f"component {i + 1}" for i in range(self.found.n_components)],
                        [f"distance correlation {ties.distance[pair]:.2f}" for pair in pairs],
                    ),
                    "The pairs that depend on each other most",
                ),
            ],
        )

    def draws_and_data(self) -> Section | None:
        """Lay draws over the latents."""
        compared = diagnostics.compare(self.drawn, self.scores, self.scale)
        few = self.draws[:20]
        pictures = [
            self.picture(
                "planes_pca",
                figures.latent_planes(
                    self.state, self.latents, few, level=el.DEFAULT_LEVEL, max_points=20_000
                ),
                "20 draws over the latents, in planes of principal components",
            ),
            self.picture(
                "planes_original",
                figures.latent_planes(
                    self.state,
                    self.latents,
                    few,
                    level=el.DEFAULT_LEVEL,
                    frame="original",
                    max_points=20_000,
                ),
                "The same draws, in planes of latent dimensions",
            ),
            self.picture(
                "comparison",
                figures.comparison(compared.std_ratio, compared.distance, compared.pair_difference),
                f"{len(self.drawn):,} draws beside the latents: each component, and the ellipses of all "
                "pairs",
            ),
        ]
        if self.found.n_components >= 3:
            pictures.append(
                self.picture(
                    "surface",
                    figures.surface(
                        self.scores[:, :3],
                        self.drawn[:, :3],
                        el.DEFAULT_LEVEL * self.scale[:3],
                        names=["component 1", "component 2", "component 3"],
                    ),
                    "The first three components with the ellipsoid whose shadows are the ellipses of their "
                    "pairs",
                )
            )
        return Section(
            "Draws and latents",
            f"Draws of the law redraw at level {el.DEFAULT_LEVEL:g} lie well inside of the latents: "
            f"their standard deviation along a component is {np.median(compared.std_ratio):.2f} times "
            "that of the latents in the median.",
            pictures,
        )

    def autoencoder(self) -> Section | None:
        """Show reconstructions and the losses."""
        decode, encode, history = self.material.decode, self.material.encode, self.material.history
        images, kind = self.material.test_images, "it has never seen"
        if images is None:
            images, kind = self.material.images, "of the training set"
        pictures = []
        if images is not None and decode is not None and encode is not None:
            pictures.append(
                self.sheet(
                    "reconstructions",
                    figures.plot_reconstructions(images[:16], decode(encode(images[:16]))),
                    f"Images {kind}, and what the autoencoder makes of them",
                )
            )
        if history:
            pictures.append(
                self.picture(
                    "training", figures.training_curve(history), "Mean squared error over the epochs"
                )
            )
        return Section("The autoencoder", "", pictures) if pictures else None

    def walks(self) -> Section | None:
        """Walk along components, between images and around ellipses."""
        decode = self.material.decode
        if decode is None:
            return None
        k = self.state.n_components
        steps = np.linspace(-3, 3, 9)
        leading = range(min(8, k))
        traversals = [decode(self.reconstruct({i: steps * self.scale[i]}, len(steps))) for i in leading]

        turn = np.linspace(0, 2 * np.pi, 33)
        planes = [(i, i + 1) for i in sorted({0, 2, k // 4}) if i + 1 < k]
        circles = [
            decode(
                self.reconstruct(
                    {i: 2 * np.cos(turn) * self.scale[i], j: 2 * np.sin(turn) * self.scale[j]}, len(turn)
                )
            )
            for i, j in planes
        ]
        part = np.linspace(0, 1, 25)[:, None]
        ends = [(self.latents[0], self.latents[len(self.latents) // 2]), (self.draws[0], self.draws[1])]
        straight = [decode((1 - part) * start + part * end) for start, end in ends]
        return Section(
            "Walks through the latent space",
            "Along one component, with all others at their average; straight from one image to "
            "another; and around the ellipse of a pair of components at level 2.",
            [
                self.sheet(
                    "traversals",
                    figures.strips(
                        traversals,
                        [f"component {i + 1}" for i in leading],
                        [f"{step:+.3g}" for step in steps],
                    ),
                    "The leading components from -3 to 3 standard deviations",
                ),
                self.sheet(
                    "paths",
                    figures.strips(
                        [*(images[::3] for images in straight), *(images[::4] for images in circles)],
                        [
                            "between two images",
                            "between two draws",
                            *(f"around {i + 1} and {j + 1}" for i, j in planes),
                        ],
                    ),
                    "Straight and circular paths",
                ),
                (
                    figures.save_animation(
                        np.concatenate([straight[0], straight[0][-2:0:-1]]),
                        self.folder / "between_images.gif",
                    ),
                    "From one training image to another and back",
                ),
                (
                    figures.save_animation(circles[0][:-1], self.folder / "circle.gif"),
                    f"Around the ellipse of components {planes[0][0] + 1} and {planes[0][1] + 1}",
                ),
            ],
        )

    def reconstruct(self, scores: dict[int, np.ndarray], n: int) -> np.ndarray:
        """Give n latents whose scores are zero but for those of some components."""
        path = np.zeros((n, self.state.n_components), np.float32)
        for i, values in scores.items():
            path[:, i] = values
        return np.asarray(self.state.reconstruct(path))

    def neighbours(self) -> Section | None:
        """Show the training images nearest to draws."""
        decode, encode, images = self.material.decode, self.material.encode, self.material.images
        if decode is None or encode is None or images is None:
            return None
        generated = decode(self.draws[:256])
        index, distance = diagnostics.nearest(generated, images, min(2, len(images)))
        if self.material.test_images is not None:
            others, own = self.material.test_images[:256], np.full(256, -1)
            name = "unseen images, reconstructed"
        else:
            own = np.array(_spread(len(images), 256))
            others, name = images[own], "other training images, reconstructed"
        found, of_others = diagnostics.nearest(decode(encode(others)), images, min(2, len(images)))
        # A training image's reconstruction is to be compared with the other ones.
        of_others = np.where(found[:, 0] == own[: len(others)], of_others[:, -1], of_others[:, 0])
        bound = float(np.quantile(of_others, 0.01))
        return Section(
            "Nearest training images",
            "If draws were copies, they would lie nearer to training images than other images do that are "
            f"as smooth: {name}. 1% of those lie nearer to a training "
            f"image{'' if self.material.test_images is not None else ' that is not their own'} than "
            f"{bound:.3f}, in the root mean square of the pixels' differences; of the draws, "
            f"{np.mean(distance[:, 0] < bound):.1%}. Smooth images near the mean are near to many without "
            "being a copy of any; an evaluation tells them apart.",
            [
                self.sheet(
                    "nearest",
                    figures.plot_nearest(generated[:8], images[index[:8]], distance[:8]),
                    "Draws, and the training images nearest to them",
                ),
                self.picture(
                    "nearest_distances",
                    figures.plot_distances(
                        {"draws": distance[:, 0], name: of_others},
                        xlabel="distance to the nearest training image (root mean square of pixels)",
                    ),
                    "Distances to the nearest training image",
                ),
            ],
        )


def _spread(size: int, count: int) -> list[int]:
    """First, last and evenly spaced indices between them."""
    return sorted(set(np.linspace(0, size - 1, min(count, size)).round().astype(int).tolist()))


def _unique(pairs: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Different pairs of different, non-negative indices, in the order given."""
    return [(i, j) for i, j in dict.fromkeys(pairs) if i != j and min(i, j) >= 0][:count]
