"""The command ``evaluate``."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from ellipsoid.cli.printing import print_table, say
from ellipsoid.evaluation.runs import EvaluateConfig, evaluate_run
from ellipsoid.provenance import told


@dataclass(frozen=True)
class Evaluate:
    """Judge all ways to draw by their decoded images, against images that were never trained on.

    The images that training kept back chose its best epoch. So they flatter the decoder a little, more than
    those of --against; but no state or baseline has seen them: both are fitted to the other images.

    May be interrupted; the same command goes on there. What it recommends is what generate and sample use.
    """

    folder: Annotated[Positional[Path], arg(name="run")]
    """A run folder, as made by train or demo."""
    config: Annotated[EvaluateConfig, arg(name="")] = field(default_factory=EvaluateConfig)

    def run(self) -> None:
        """Evaluate, recommend, write."""
        from ellipsoid.evaluation import limit, table_of

        result = evaluate_run(self.folder, self.config)
        # All columns, which no terminal is wide enough for, are in the files.
        header = ("setting", "level", "precision", "recall", "Fréchet")
        print_table([[line[name] for name in header] for line in table_of(result.evaluation)], header)
        say(result.evaluation.note)
        limited = limit(result.evaluation)
        if limited is not None:
            say(limited)
        for recommendation in result.recommendations:
            say(f"{recommendation.goal}: {recommendation.reason}")
        for former in result.replaced:
            made = f", of {told(former.provenance)}" if former.provenance else ""
            say(f"replaced the former recommendation for {former.goal}: {former.way}{made}")
        say(f"wrote {', '.join(str(path) for path in result.written)}")
