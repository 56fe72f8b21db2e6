import math

import pytest

from ellipsoid.metrics.estimate import Estimate, estimate_share


def test_estimates_read_well():
    assert str(Estimate(0.41234, 0.00512)) == "0.4123 ± 0.0051"


def test_shares_have_a_binomial_error_also_at_their_ends():
    assert estimate_share(30, 100) == pytest.approx((0.3, math.sqrt(0.3 * 0.7 / 100)))
    assert estimate_share(30, 100, 0.01) == pytest.approx((0.3, math.sqrt(0.3 * 0.7 / 100 + 0.01)))
    none, every = estimate_share(0, 100), estimate_share(100, 100)
    assert (none.value, every.value) == (0, 1)
    assert none.error == pytest.approx(every.error) == pytest.approx(math.sqrt(1 / 102 * 101 / 102 / 100))
