"""Images that the method generates."""

import numpy as np

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study

#: The source's level and its range of facts, and one above it for comparison.
LEVEL = 2.35
FACTS = (0.6, 0.7, 0.8, 1.0)


def new_images(study: Study) -> Section | None:
    """Show draws, by law, level and number of components."""
    decode, k, best = study.inputs.decode, study.state.n_components, study.advice
    if decode is None:
        return None
    matched, nine_tenths = el.matched_level(k, law="uniform"), study.diagnostics.levels_holding[0.9]
    laws = [
        ("redraw", el.DEFAULT_LEVEL),
        ("sequential", el.DEFAULT_LEVEL),
        ("uniform", el.DEFAULT_LEVEL),
        ("uniform", matched),
        ("normal", nine_tenths),
    ]
    counts = sorted({max(2, k // 4), max(2, k // 2), k})

    def cell(count: int, fact: float) -> np.ndarray:
        return decode(study.sample(9, study.state.truncate(count), level=LEVEL, fact=fact))

    return Section(
        "New images",
        "Latent vectors drawn inside the confidence ellipse of every pair of principal components, "
        "decoded. Draws that stay near the average are safer, and more alike.",
        [
            study.save(
                "generated",
                figures.image_grid(decode(study.sample(48, best.state, **best.options)), columns=12),
                f"48 draws as advised above: {best.way}",
                svg=False,
            ),
            study.save(
                "laws",
                figures.strips(
                    [decode(study.sample(8, law=law, level=level)) for law, level in laws],
                    [f"{law}, {level:.3g}" for law, level in laws],
                ),
                f"Laws and levels. At {matched:.3g} the law uniform has the variance of the "
                f"latents; level {nine_tenths:.3g} holds nine tenths of them",
                svg=False,
            ),
            study.save(
                "components_and_facts",
                figures.grid_table(
                    [[cell(count, fact) for fact in FACTS] for count in counts],
                    [f"{count} components" for count in counts],
                    [f"fact {fact:g}" for fact in FACTS],
                ),
                f"Draws by number of components and fact. Level {LEVEL} times the fact is the "
                "half-width of every ellipse in standard deviations; few components leave out detail",
                svg=False,
            ),
        ],
    )
