"""Settings of a draw as one value: a distribution inside a region of a given size."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ellipsoid.checks import check_positive
from ellipsoid.laws import get_law
from ellipsoid.options import DEFAULT_LEVEL as DEFAULT_LEVEL
from ellipsoid.regions import Region, as_region


@dataclass(frozen=True)
class DrawSettings:
    """Settings of a draw: a distribution inside a region, and the size of the region.

    Attributes
    ----------
    law : {"redraw", "sequential", "uniform", "normal"}
        Distribution of the draws inside the region, see :mod:`ellipsoid.laws`.
    level : float
        Half-width of each ellipse in standard deviations of its components.
    fact : float
        Factor on the level; ``fact * level`` is the radius of the region.
    region : {"pairwise", "ellipsoid", "box"} or a region object
        Set that contains all draws, see :mod:`ellipsoid.regions`.
    """

    law: str = "redraw"
    level: float | jax.Array = DEFAULT_LEVEL
    fact: float | jax.Array = 1.0
    region: str | Region = "pairwise"

    @property
    def radius(self) -> float | jax.Array:
        """Radius of the region in standard deviations, ``fact * level``, checked unless it is traced.

        Raises
        ------
        TypeError
            If the level or the fact is not a number.
        ValueError
            If the level or the fact is not finite and above 0, or their product leaves the range of float32.
        """
        return checked_radius(self.level, self.fact)

    @property
    def options(self) -> dict[str, Any]:
        """Keyword arguments of :func:`ellipsoid.sample` and :func:`ellipsoid.generate`."""
        return {"law": self.law, "level": self.level, "fact": self.fact, "region": self.region}

    def region_of(self, k: int) -> Region:
        """Region as an object, checked to fit `k` components.

        Raises
        ------
        TypeError, ValueError
            If the region is unknown, or has a mask of another size.
        """
        region = as_region(self.region)
        region.check(k)
        return region

    def check(self, k: int) -> None:
        """Raise ``ValueError`` or ``TypeError`` unless these settings can draw `k` components."""
        get_law(self.law, self.region_of(k))
        _ = self.radius


def checked_radius(level: Any, fact: Any) -> float | jax.Array:
    """Radius ``fact * level``, a Python float unless the level or the fact is traced.

    Raises
    ------
    TypeError
        If the level or the fact is not a number.
    ValueError
        If the level or the fact is not finite and above 0, or their product leaves the range of float32.
    """
    if any(isinstance(value, Tracer) for value in (level, fact)):
        return jnp.float32(level) * jnp.float32(fact)
    radius = check_positive("level", level) * check_positive("fact", fact)
    limits = np.finfo(np.float32)
    if not float(limits.tiny) <= radius <= float(limits.max):
        raise ValueError(
            f"level: expected fact * level from {limits.tiny:.3g} to {limits.max:.3g}, the range of float32; "
            f"got {radius:g}"
        )
    return radius
