"""Estimates with standard errors."""

import math
from typing import NamedTuple


class Estimate(NamedTuple):
    """An estimate with its standard error.

    Attributes
    ----------
    value : float
        Estimated value.
    error : float
        Standard error, in the same unit.

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
    """Estimate the share of counted rows among `n`, with its binomial error.

    Parameters
    ----------
    count : int
        Number of counted rows. If it is 0 or n, the variance would be 0; it is then computed with one more
        success and one more failure.
    n : int
        Number of all rows.
    extra_variance : float
        Variance of the share in addition to the binomial one.

    Examples
    --------
    >>> print(estimate_share(20, 100))
    0.2 ± 0.04
    """
    inner = (count + 1) / (n + 2) if count in (0, n) else count / n
    return Estimate(count / n, math.sqrt(inner * (1 - inner) / n + extra_variance))
