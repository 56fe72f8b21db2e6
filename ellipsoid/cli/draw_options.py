"""Options that the commands ``sample`` and ``generate`` share, and the lines that both print."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ellipsoid.cli.counts import Count
from ellipsoid.cli.printing import say
from ellipsoid.workflows import Drawing, Written, how_to_draw


@dataclass(frozen=True)
class DrawOptions:
    """How to draw."""

    law: Literal["redraw", "sequential", "uniform", "normal"] | None = None
    """Distribution of the draws inside the region; redraw by default. If none of law, level, fact and region
    is given, a run that was evaluated has its own defaults for them all: what is recommended."""
    level: float | None = None
    """Half-width of each ellipse in standard deviations; 1.645 by default."""
    fact: float | None = None
    """Factor on the level; 1 by default."""
    region: Literal["pairwise", "ellipsoid", "box"] | None = None
    """Region that the draws stay in; pairwise by default."""
    goal: Literal["fidelity", "balanced", "diversity"] | None = None
    """Goal to draw for; balanced by default. For a run that was not evaluated, theory says how."""
    label: tuple[str, ...] = ()
    """Label of a mixture or flow that was fitted by label; or several of a mixture, any of which will do;
    or attributes as Smiling=true Male=false, all of which must be so."""
    seed: int = 0
    """Seed of the sequence; the same seed gives the same rows."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Type of the latents; bfloat16 in .zarr only."""
    beside: tuple[Literal["latents", "scores", "gauge", "part"], ...] = ()
    """Columns to write beside the latents or images; the part of a mixture only."""
    chunk: Count | None = None
    """Rows that are written at a time, about 16 MB by default; one shard of .zarr, .tar and .parquet."""
    verify: bool = False
    """Check of what earlier runs wrote: it is read back and compared."""
    processes: int | None = None
    """Number of processes that share the work and see the same folder."""
    process_id: int | None = None
    """Number of this process, from 0."""
    distributed: bool = False
    """Both of these numbers by jax.distributed.initialize, from Slurm, Kubernetes or a TPU pod."""

    def join_processes(self) -> None:
        """Join the other processes, if there are any; must come before JAX is asked for anything else."""
        if self.distributed:
            import jax

            jax.distributed.initialize()

    def settle(self, source: Path) -> Drawing:
        """Load what to draw from, settle how, and say so if it is not what was asked for."""
        drawing = how_to_draw(
            source, self.goal, law=self.law, level=self.level, fact=self.fact, region=self.region
        )
        if drawing.recommendation is not None:
            say(described(drawing))
        return drawing

    @property
    def writing(self) -> dict[str, Any]:
        """Arguments of `write_latents` and `write_images`, beside the drawing."""
        names = ("seed", "dtype", "beside", "chunk", "verify", "processes", "process_id")
        return {name: getattr(self, name) for name in names} | {"label": as_label(self.label)}


def described(drawing: Drawing) -> str:
    """Sentence that says how a recommended drawing draws, and why."""
    advice = drawing.recommendation
    assert advice is not None
    return (
        f"drawing for {advice.goal}: law {advice.law}, level {advice.level:.4g}, region {advice.region}, "
        f"{advice.n_components} components. {advice.reason}"
    )


def say_what_was_written(written: Written, n: int, out: str, *, kind: str, dtype: str) -> None:
    """Say where the rows are, which are of this kind: latents or images."""
    if not written.is_complete:
        say(f"wrote this process's share to {written.location}; whichever finishes last names it {out}")
        return
    say(f"wrote {written.location}: {n:,} {kind}, {written.n_bytes / 1e6:,.1f} MB")
    if written.n_judged:
        share = written.n_outside / written.n_judged
        say(f"rounding to {dtype} has put {share:.2%} of the latents outside of the region")


def as_label(words: Sequence[str]) -> tuple[str, ...] | dict[str, bool] | None:
    """Labels, or attributes by name where one of them has a value; None for no words.

    Raises
    ------
    ValueError
        For a value that is neither true nor false.
    """
    if not any("=" in word for word in words):
        return tuple(words) or None
    label = {}
    for word in words:
        name, _, value = word.rpartition("=") if "=" in word else (word, "", "true")
        if value.lower() not in ("true", "false"):
            raise ValueError(f"label: expected {name}=true or {name}=false; got {word}")
        label[name] = value.lower() == "true"
    return label


def as_edits(words: Sequence[str]) -> list[tuple[str, float]]:
    """Names of directions, and how far to move along each.

    Raises
    ------
    ValueError
        For a word that is not as in ``smiling=1.5``.
    """
    edits = []
    for word in words:
        name, _, value = word.rpartition("=")
        try:
            amount = float(value)
        except ValueError:
            amount = math.nan
        if not (name and math.isfinite(amount)):
            raise ValueError(f"edit: expected a direction and a number, as in smiling=1.5; got {word}")
        edits.append((name, amount))
    return edits
