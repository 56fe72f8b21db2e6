"""Images of draws."""

import numpy as np

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study

#: Level of the source method, its range of facts, and a larger fact for comparison.
LEVEL = 2.35
FACTS = (0.6, 0.7, 0.8, 1.0)


def new_images(study: Study) -> Section | None:
    """Show draws for different laws, levels and numbers of components."""
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
        "How do draws look? Each image is decoded from a latent vector inside a region: by default, inside "
        f"the confidence ellipses of all {k * (k - 1) // 2:,} pairs of principal components. Lower levels "
        "and fewer components keep draws near the average image: they are safer, but more alike.",
        [
            study.save(
                "generated",
                figures.image_grid(decode(study.sample(48, best.state, **best.options)), columns=12),
                f"48 draws with the recommended settings: {best.way}",
                svg=False,
            ),
            study.save(
                "laws",
                figures.strips(
                    [decode(study.sample(8, law=law, level=level)) for law, level in laws],
                    [f"{law}, {level:.3g}" for law, level in laws],
                ),
                f"Draws by each law, with its level. Uniform draws have the variance of the latents at level "
                f"{matched:.3g}; the region at level {nine_tenths:.3g} holds 90% of the latents",
                svg=False,
            ),
            study.save(
                "components_and_facts",
                figures.grid_table(
                    [[cell(count, fact) for fact in FACTS] for count in counts],
                    [f"{count} components" for count in counts],
                    [f"fact {fact:g}" for fact in FACTS],
                ),
                f"Draws by number of components and by fact. The level is {LEVEL} times the fact; few "
                "components leave out detail",
                svg=False,
            ),
        ],
    )
