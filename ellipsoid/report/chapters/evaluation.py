"""The results of an evaluation of the run, and its recommendations."""

from pathlib import Path

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.evaluation.recommend import GOALS, Recommendation, load_recommendation
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study
from ellipsoid.runs import RunFolder

TITLE = "How good the images are"
#: Figures of the evaluation that the chapter shows again, with their captions, and what they show.
CAPTIONS = {
    "fidelity_diversity": (
        "Fidelity and diversity of every way to draw, as its draws spread",
        "Chart of recall against precision, with a curve for each way to draw.",
    ),
    "equal_precision": (
        "Images of every way to draw, at about the same precision",
        "A row of images for each way to draw.",
    ),
}


def evaluation(study: Study) -> Section | None:
    """Show the recommendations of an evaluation, draws by them, and its figures."""
    decode, run = study.inputs.decode, study.inputs.run
    if decode is None or run is None:
        return None
    try:
        loaded = [load_recommendation(run, goal) for goal in GOALS]
    except ValueError as error:
        return Section(TITLE, f"This run has been evaluated, but the recommendation is of no use: {error}.")
    recommended = [recommendation for recommendation in loaded if recommendation is not None]
    if not recommended:
        return None
    table = [_row(study, best) for best in recommended if best.measured is not None]
    title, text = (
        TITLE,
        "Measured against images that the autoencoder was not trained on, and recommended:\n\n",
    )
    if not table and len({best.reason for best in recommended}) == 1:
        title, text = "How the run draws", recommended[0].reason
    elif len(table) == len(recommended):
        text += recommended[0].reason
        table.insert(0, ("Goal", "How to draw", "Precision", "Recall", "Fréchet distance"))
    else:  # of an earlier version
        text += "\n\n".join(f"{best.goal.capitalize()}. {best.reason}" for best in recommended)
        table = []
    drawn = [decode(study.sample(12, best.state, **best.options)) for best in recommended]
    labels = [f"{best.goal}: {_way_to_draw(study, best)}" for best in recommended]
    return Section(
        title,
        text,
        [
            study.save(
                "recommended",
                figures.strips(drawn, labels),
                "Draws as recommended for each goal",
                svg=False,
            ),
            *_figures_of_evaluation(run),
        ],
        table,
    )


def _row(study: Study, best: Recommendation) -> tuple[str, ...]:
    measured = best.measured or {}
    shares = (f"{measured[name].value:.2f} ± {measured[name].error:.2f}" for name in ("precision", "recall"))
    return best.goal, _way_to_draw(study, best), *shares, str(measured["frechet"])


def _way_to_draw(study: Study, best: Recommendation) -> str:
    words = ["flow"] if isinstance(best.state, el.Flow) else []
    words += [f"{best.state.n_parts} parts"] if isinstance(best.state, el.Mixture) else []
    words += [best.law] if best.region == "pairwise" else [best.law, best.region]
    words += [f"K {best.n_components}"] if best.n_components != study.state.n_components else []
    return ", ".join([*words, f"{best.level:.3g}"])


def _figures_of_evaluation(run: Path) -> list[tuple[Path, str, str]]:
    pictures = [(RunFolder(run).evaluation_figure(name), *CAPTIONS[name]) for name in CAPTIONS]
    return [picture for picture in pictures if picture[0].is_file()]
