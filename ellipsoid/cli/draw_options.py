"""Options that the commands ``sample`` and ``generate`` share, and the lines that both print."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ellipsoid.cli.counts import Count
from ellipsoid.cli.printing import note, say

if TYPE_CHECKING:
    from ellipsoid.workflows import Drawing, Written


@dataclass(frozen=True)
class DrawOptions:
    """How to draw."""

    law: Literal["redraw", "sequential", "uniform", "normal"] | None = None
    """Distribution of the draws inside the region; redraw, the original procedure, by default. If none of
    --law, --level, --fact and --region is given, an evaluated run uses its recommendation for all four."""
    level: float | None = None
    """Half-width of each ellipse in standard deviations; 1.645 by default. A larger level gives more diverse
    draws, and more of them look odd."""
    fact: float | None = None
    """Factor on the level; 1 by default."""
    region: Literal["pairwise", "ellipsoid", "box"] | None = None
    """Region that contains all draws; pairwise by default: inside an ellipse in the plane of every pair of
    components."""
    goal: Literal["fidelity", "balanced", "diversity"] | None = None
    """Goal of the recommendation that is followed; balanced by default. Without an evaluation, theory gives
    the recommendation."""
    label: tuple[str, ...] = ()
    """Labels to draw for, if the mixture or flow was fitted with labels: one label, several labels of a
    mixture (draws have any of them), or attributes as in Smiling=true Male=false (draws have all of them)."""
    seed: int = 0
    """Random seed. The same seed gives the same rows."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Data type of the latents. bfloat16 needs a .zarr output, which TensorStore reads and zarr-python does
    not."""
    beside: tuple[Literal["latents", "scores", "gauge", "part"], ...] = ()
    """Additional columns to write: the latents of images, the scores, the gauge (1 on the boundary of the
    region), or the part of a mixture that each row was drawn from."""
    chunk: Count | None = None
    """Number of rows that are written at a time; about 16 MB by default. Each chunk is one shard of a .zarr,
    .tar or .parquet output."""
    verify: bool = False
    """Check of all files that earlier runs of this command wrote, by their checksums. Damaged rows are
    written again while the result is unfinished."""
    processes: int | None = None
    """Number of processes that share the work and write to the same folder."""
    process_id: int | None = None
    """Index of this process, from 0."""
    distributed: bool = False
    """Automatic values of --processes and --process-id, from Slurm, Kubernetes or a TPU pod, as found by
    jax.distributed.initialize."""

    def join_processes(self) -> None:
        """Join the other processes, if there are any. This comes before any other use of JAX."""
        if self.distributed:
            import jax

            jax.distributed.initialize()

    def settle(self, source: Path) -> "Drawing":
        """Load the shape, choose the settings, and print them if they are a recommendation."""
        from ellipsoid.workflows import how_to_draw

        drawing = how_to_draw(
            source, self.goal, law=self.law, level=self.level, fact=self.fact, region=self.region
        )
        if drawing.recommendation is not None:
            say(described(drawing), goal=drawing.recommendation.goal, reason=drawing.recommendation.reason)
        note(settings=settings_of(drawing), seed=self.seed, dtype=self.dtype, label=as_label(self.label))
        return drawing

    @property
    def writing(self) -> dict[str, Any]:
        """Arguments of `write_latents` and `write_images`."""
        names = ("seed", "dtype", "beside", "chunk", "verify", "processes", "process_id")
        return {name: getattr(self, name) for name in names} | {"label": as_label(self.label)}


def settings_of(drawing: "Drawing") -> dict[str, Any]:
    """Give all settings of a drawing by name, including those that have their defaults."""
    from ellipsoid.settings import DrawSettings

    options = DrawSettings(**drawing.options).options
    return {
        name: str(value) if name in ("law", "region") else float(value) for name, value in options.items()
    }


def described(drawing: "Drawing") -> str:
    """Say how a recommended drawing draws, and why."""
    advice = drawing.recommendation
    assert advice is not None
    return (
        f"settings for the goal {advice.goal}: law {advice.law}, level {advice.level:.4g}, "
        f"region {advice.region}, {advice.n_components} components. {advice.reason}"
    )


def say_what_was_written(written: "Written", n: int, out: str, *, kind: str, dtype: str) -> None:
    """Say where the rows of this kind, latents or images, are."""
    facts: dict[str, Any] = {"written": [written.location], "rows": n, "is_complete": written.is_complete}
    if not written.is_complete:
        say(
            f"wrote this process's share to {written.location}; the last process to finish renames it {out}",
            **facts,
        )
        return
    say(
        f"wrote {written.location}: {n:,} {kind}, {written.n_bytes / 1e6:,.1f} MB",
        bytes=written.n_bytes,
        **facts,
    )
    if written.n_judged:
        share = written.n_outside / written.n_judged
        say(
            f"rounding to {dtype} has moved {share:.2%} of the latents out of the region", outside_share=share
        )


def as_label(words: Sequence[str]) -> tuple[str, ...] | dict[str, bool] | None:
    """Give labels, or attributes by name if one of the words has a value; None for no words.

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
    """Give the names of directions, and how far to move along each.

    Raises
    ------
    ValueError
        For a word of another form than ``smiling=1.5``.
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
