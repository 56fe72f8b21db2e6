"""Figures with their standard errors."""

import math
from typing import NamedTuple


class Estimate(NamedTuple):
    """A figure and its standard error.

    Attributes
    ----------
    value : float
        The figure.
    error : float
        Its standard error, in the same unit.

    Examples
    --------
    >>> print(Estimate(0.41234, 0.00512))
    0.4123 ± 0.0051
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ± {self.error:.2g}"


def estimate_share(count: int, n: int, extra_variance: float = 0.0) -> Estimate:
    """Share of `n` rows that are counted, with its binomial error.

    Parameters
    ----------
    count : int
        Rows that are counted. For none and for all, the binomial variance is that of one more success and one
        more failure: it would be 0.
    n : int
        Rows in all.
    extra_variance : float
        Variance of the share beside the binomial one.

    Examples
    --------
    >>> print(estimate_share(20, 100))
    0.2 ± 0.04
    """
    inner = (count + 1) / (n + 2) if count in (0, n) else count / n
    return Estimate(count / n, math.sqrt(inner * (1 - inner) / n + extra_variance))
