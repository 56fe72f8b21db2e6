"""The command ``evaluate``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import print_table, say
from ellipsoid.evaluation.config import EvaluateConfig


@dataclass(frozen=True)
class Evaluate:
    """Compare all ways to draw by their decoded images, and recommend the best.

    The decoded images are compared with images that the autoencoder was not trained on. By default a
    demonstration draws unseen faces, and any other run takes the images that training kept back to choose its
    best epoch, which flatters the decoder slightly; --against takes others. `ellipsoid generate` and
    `ellipsoid sample` follow the recommendation.

    The command can be interrupted. The same command then continues.
    """

    folder: Annotated[Positional[Path], arg(name="run")]
    """Run folder made by `ellipsoid train`, `import` or `demo`."""
    config: Annotated[EvaluateConfig, arg(name="")] = field(default_factory=EvaluateConfig)

    def run(self) -> None:
        """Evaluate, recommend, write."""
        from ellipsoid.evaluation import limit, table_of
        from ellipsoid.evaluation.runs import evaluate_run
        from ellipsoid.provenance import told

        result = evaluate_run(self.folder, self.config)
        # The files hold all columns; a terminal is too narrow for them.
        header, lines = ("setting", "level", "precision", "recall", "Fréchet"), table_of(result.evaluation)
        print_table([[line[name] for name in header] for line in lines], header, settings=lines)
        say(result.evaluation.note)
        limited = limit(result.evaluation)
        if limited is not None:
            say(limited)
        recommended = {}
        for advice in result.recommendations:
            recommended[advice.goal] = {
                "law": advice.law,
                "level": advice.level,
                "fact": advice.fact,
                "region": str(advice.region),
                "components": advice.n_components,
                "reason": advice.reason,
            }
            say(f"{advice.goal}: {advice.reason}", recommendations=recommended)
        for former in result.replaced:
            made = f" ({told(former.provenance)})" if former.provenance else ""
            say(f"replaced the former recommendation for {former.goal}{made}: {former.way}")
        say(f"wrote {', '.join(str(path) for path in result.written)}", written=result.written)
