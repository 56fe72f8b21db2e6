"""Results of an evaluation of the run, and its recommendations."""

from pathlib import Path

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.evaluation.recommend import GOALS, Recommendation, load_recommendation
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study
from ellipsoid.runs import RunFolder

TITLE = "How good the images are"
#: Figures of the evaluation that the chapter repeats, with their captions and descriptions.
CAPTIONS = {
    "fidelity_diversity": (
        "Precision and recall of every way to draw. Along each curve the spread of the draws changes",
        "Chart of recall against precision, with a curve for each way to draw.",
    ),
    "equal_precision": (
        "Images by every way to draw, at about the same precision",
        "A row of images for each way to draw.",
    ),
}


def evaluation(study: Study) -> Section | None:
    """Show the recommendations of an evaluation, draws with their settings, and its figures."""
    decode, run = study.inputs.decode, study.inputs.run
    if decode is None or run is None:
        return None
    try:
        loaded = [load_recommendation(run, goal) for goal in GOALS]
    except ValueError as error:
        return Section(TITLE, f"This run was evaluated, but its recommendation cannot be used: {error}.")
    recommended = [recommendation for recommendation in loaded if recommendation is not None]
    if not recommended:
        return None
    table = [_row(study, best) for best in recommended if best.measured is not None]
    title, text = (
        TITLE,
        "How good are decoded draws, and which settings are best? Every way to draw was measured against "
        "images that the autoencoder was not trained on. For each goal, the best one is recommended.\n\n",
    )
    if not table and len({best.reason for best in recommended}) == 1:
        title = "How the run draws"
        text = f"Which shape do draws come from, and why? {recommended[0].reason}"
    elif len(table) == len(recommended):
        text += recommended[0].reason
        table.insert(0, ("Goal", "How to draw", "Precision", "Recall", "Fréchet distance"))
    else:  # files of earlier versions
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
                "Draws with the recommended settings for each goal",
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
