"""Known attributes of the images: whether each forms a cluster among the latents, or shifts them."""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from ellipsoid import figures
from ellipsoid.blocks import subset
from ellipsoid.directions import Direction, Directions
from ellipsoid.figures.style import signed
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study

# Number of attributes with a walk, the clearest ones.
_N_WALKS = 12
# Number of attributes whose correlations are shown.
_N_CORRELATED = 40
# Number of latents for the density along a direction.
_N_READ = 50_000


def attributes(study: Study) -> Section | None:
    """Report how each attribute lies among the latents, and walk along its direction."""
    known, decode = study.inputs.directions, study.inputs.decode
    if not known:
        return None
    clear_first = sorted(known.values(), key=lambda one: -one.auc)
    rows_read = subset(study.latents, _N_READ)
    forms = {one.name: "cluster" if has_two_peaks(one.score(rows_read)) else "shift" for one in clear_first}
    clusters = [name for name, form in forms.items() if form == "cluster"]
    heading = ("attribute", "share", "AUC", "mean without", "mean with", "form")
    rows = [(one.name, *_numbers(one), forms[one.name]) for one in clear_first]
    names = [name for name in known if name in list(forms)[:_N_CORRELATED]]
    correlations = Directions({name: known[name] for name in names}).correlations()
    pictures = []
    if len(names) > 1:
        pictures.append(
            study.save(
                "directions",
                figures.named_correlations(correlations, names),
                "Movement of the latents along the attribute of each column, for a step of 1 along the "
                "attribute of each row",
            )
        )
    walks = []
    if decode is not None:
        walked, steps = clear_first[:_N_WALKS], np.linspace(-3, 3, 9, dtype=np.float32)[:, None]
        strips = [decode(study.mean.astype(np.float32) + steps * one.vector) for one in walked]
        pictures.append(
            study.save(
                "attributes",
                figures.strips(
                    strips, [one.name for one in walked], [f"{step:+.3g}" for step in steps[:, 0]]
                ),
                "The average image, moved from -3 to 3 standard deviations along the direction of each "
                "attribute",
                svg=False,
            )
        )
        walks = [
            study.walk(f"walk_attribute_{i + 1}", decode, one.vector, one.name)
            for i, one in enumerate(walked)
        ]
    return Section(
        "Attributes",
        "Does an attribute split the latents into clusters, or does it shift them within one cloud? "
        + _clusters(clusters, len(forms))
        + " An attribute forms a cluster if the density of all latents along its direction has two peaks, "
        "with a valley between them that noise does not explain. Draws from one region also fall into such a "
        "valley; a mixture or a flow avoids it.\n\n"
        "The direction of an attribute leads from the latents of images without it to those of images with "
        "it: it is the linear discriminant of the whitened scores. The AUC is the probability that an image "
        "with the attribute lies further along the direction than one without it (cross-validated, ± its "
        "standard error): 0.5 is chance, and 1 means no overlap. The means of both groups are in standard "
        "deviations of all latents." + _most_correlated(correlations, names),
        pictures,
        table=[heading, *rows],
        walks=walks,
    )


def has_two_peaks(readings: np.ndarray) -> bool:
    """Whether the density of readings has two peaks, with a valley between them that noise does not explain.

    The density is a kernel estimate with the bandwidth of Silverman (1986), which tends to oversmooth two
    peaks. The valley lies below the lower peak by more than five standard errors of the difference.
    """
    low, middle, high = np.quantile(readings, (0.25, 0.5, 0.75))
    bandwidth = 0.9 * min(readings.std(), (high - low) / 1.34) * len(readings) ** -0.2
    if not bandwidth > 0:
        return False
    # Rows further out are outliers.
    first = max(readings.min(), middle - 10 * (high - low)) - 4 * bandwidth
    last = min(readings.max(), middle + 10 * (high - low)) + 4 * bandwidth
    edges = np.arange(first, last, bandwidth / 4)
    counts = np.histogram(readings, edges)[0]
    density = gaussian_filter1d(counts / (len(readings) * bandwidth / 4), 4.0)
    peak = np.minimum(np.maximum.accumulate(density), np.maximum.accumulate(density[::-1])[::-1])
    # The variance of a kernel estimate f is f / (2 sqrt(pi) n bandwidth).
    error = np.sqrt((peak + density) / (2 * np.sqrt(np.pi) * len(readings) * bandwidth))
    return bool(np.any(peak - density > 5 * error))


def _numbers(one: Direction) -> tuple[str, str, str, str]:
    share = one.group_size[1] / one.group_size.sum()
    without, having = map(signed, one.group_mean)
    return f"{share:.1%}", f"{one.auc:.3f} ± {one.auc_error:.3f}", without, having


def _clusters(clusters: list[str], n: int) -> str:
    if not clusters:
        return f"None of these {n} attributes forms a cluster; each is a shift."
    if len(clusters) == n:
        return f"Each of these {n} attributes forms a cluster."
    forms = "form clusters" if len(clusters) > 1 else "forms a cluster"
    return f"{len(clusters)} of these {n} attributes {forms} ({', '.join(clusters)}); the others are shifts."


def _most_correlated(correlations: np.ndarray, names: list[str]) -> str:
    """Describe the two directions with the strongest correlation; empty for a single direction."""
    if len(names) < 2:
        return ""
    apart = np.abs(np.triu(correlations, 1))
    i, j = np.unravel_index(np.argmax(apart), apart.shape)
    return (
        f" A step of 1 along {names[i]} moves the latents by {signed(correlations[i, j])} along {names[j]}, "
        "the largest such effect. `ellipsoid directions --orthogonal` learns directions that leave chosen "
        "attributes unchanged."
    )
