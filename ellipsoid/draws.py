"""Drawn vectors."""

from typing import NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from ellipsoid.cells import table_of_rows


class Draws(NamedTuple):
    """Vectors drawn from one state, or from a flow.

    Attributes
    ----------
    latents : (n, D) array
        Latents, ready for a decoder.
    scores : (n, K) array
        Same points on the principal axes, in latent units, or in the coordinates of the flow. The region is
        defined in these.
    gauge : (n,) array
        Smallest factor by which the region can be scaled and still contain the point; float32, at most 1.
    """

    latents: jax.Array
    scores: jax.Array
    gauge: jax.Array

    def __repr__(self) -> str:
        return _describe(self)

    def _repr_html_(self) -> str:
        return table_of_rows(type(self).__name__, _described_fields(self))


class MixtureDraws(NamedTuple):
    """Vectors drawn from a mixture.

    Attributes
    ----------
    latents : (n, D) array
        Latents, ready for a decoder.
    scores : (n, K) array
        Same points on the axes of the part that each was drawn from, in latent units. Scores of
        :meth:`ellipsoid.Mixture.project` differ: they lie on the axes that all parts share.
    gauge : (n,) array
        Smallest factor by which the region of the part can be scaled and still contain the point; float32,
        at most 1.
    part : (n,) array
        Number of the part that each row was drawn from, int32. With a label, numbers count the parts of
        :meth:`ellipsoid.Mixture.select`.
    """

    latents: jax.Array
    scores: jax.Array
    gauge: jax.Array
    part: jax.Array

    def __repr__(self) -> str:
        return _describe(self)

    def _repr_html_(self) -> str:
        return table_of_rows(type(self).__name__, _described_fields(self))


def as_draws(
    latents: jax.Array, scores: jax.Array, gauge: jax.Array, part: jax.Array | None
) -> Draws | MixtureDraws:
    """Return draws of a mixture if parts are given, else draws of one state or a flow."""
    return Draws(latents, scores, gauge) if part is None else MixtureDraws(latents, scores, gauge, part)


def _describe(draws: Draws | MixtureDraws) -> str:
    lines = [f"    {name}={text}," for name, text in _described_fields(draws)]
    return "\n".join([type(draws).__name__ + "(", *lines, ")"])


def _described_fields(draws: Draws | MixtureDraws) -> list[tuple[str, str]]:
    """Return types, shapes and ranges; a pytree may hold anything, so no value is assumed to be an array."""
    fields = []
    for name, value in draws._asdict().items():
        if not (hasattr(value, "dtype") and hasattr(value, "shape")):
            fields.append((name, repr(value)))
            continue
        text = f"{np.dtype(value.dtype).name}{list(value.shape)}"
        if name in ("gauge", "part") and _is_at_hand(value):
            text += f" from {np.min(value):.4g} to {np.max(value):.4g}"
        fields.append((name, text))
    return fields


def _is_at_hand(value) -> bool:
    if isinstance(value, np.ndarray):
        return value.size > 0
    return (
        isinstance(value, jax.Array)
        and not isinstance(value, Tracer)
        and value.size > 0
        and not value.is_deleted()
        and value.is_fully_addressable
    )
