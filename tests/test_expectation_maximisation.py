import numpy as np
import pytest
from scipy import stats

from ellipsoid.expectation_maximisation import expect, maximise


def test_more_rows_than_a_chunk():
    # One step from the same start, summed up in chunks of rows, the last of them padded.
    rng = np.random.default_rng(5)
    x = rng.normal(size=(10_001, 3)).astype(np.float32)
    start = np.stack([np.zeros(3), np.ones(3)]), np.stack([np.eye(3), 2 * np.eye(3)]) * 5000
    parts = maximise(np.array([6000.0, 4001.0]), *start, np.zeros(2, np.int32), 3.0)
    likelihood, counts, means, scatters = expect(x, np.zeros(len(x), np.int32), parts)
    log_shares = np.stack(
        [
            np.log(n / 10_001) + stats.multivariate_normal.logpdf(x, mean, c)
            for n, mean, c in zip(parts.counts, parts.centres, parts.covariances, strict=True)
        ]
    )
    shares = np.exp(log_shares - np.logaddexp(*log_shares))
    assert likelihood == pytest.approx(np.logaddexp(*log_shares).mean(), abs=1e-5)
    np.testing.assert_allclose(counts, shares.sum(axis=1), rtol=1e-5)
    for m in range(2):
        mean = np.average(x, axis=0, weights=shares[m])
        np.testing.assert_allclose(means[m], mean, atol=1e-5)
        expected = (shares[m][:, None] * (x - mean)).T @ (x - mean)
        np.testing.assert_allclose(scatters[m], expected, rtol=1e-4, atol=0.1)
