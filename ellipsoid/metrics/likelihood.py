"""Feature-likelihood divergence: the likelihood of unseen rows under a Gaussian on each generated row."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from ellipsoid.blocks import padded_batches
from ellipsoid.checks import check_matrix
from ellipsoid.metrics.estimate import Estimate
from ellipsoid.metrics.row_pairs import check_pair, squares
from ellipsoid.progress import progress_bar

# Pairs of rows that are handled together: 32 MiB in float64.
_PAIRS = 2**22
_MOST_PASSES = 100
# The fit ends when the mean log-likelihood of a row, over the columns, gains less: 1e-3 of the figure.
_GAIN = 1e-5
# Smallest variance: a Gaussian on a copy of a training row would shrink to a point. Features have variance 1.
_LEAST_VARIANCE = 1e-12


def feature_likelihood_divergence(
    generated: ArrayLike, train: ArrayLike, unseen: ArrayLike, *, progress: bool = False
) -> Estimate:
    """Measure feature-likelihood divergence (FLD): fidelity, diversity and copying in one figure.

    The figure is that of Jiralerspong et al. (2023). A Gaussian with a free variance stands on each generated
    row. The variances maximise the likelihood of training rows. The figure is the negative mean
    log-likelihood of unseen rows, times ``100 / D``, less the same figure of training rows in place of
    generated ones, where Gaussians on half of them are fitted to the other half. Rows that are poor, all
    alike or missing make unseen rows less likely. So do copies, whose Gaussians shrink.

    Expectation maximisation finds the variances; the authors take 50 steps of Adam. A single Gaussian around
    the mean of the training rows competes during the fit, as in the authors' method, so that no other grows
    to reach outliers. Columns are standardised by the unseen rows.

    Parameters
    ----------
    generated : array, shape (m, D)
        At least two rows. Only the first t / 2 are taken, since more Gaussians fit better.
    train : array, shape (t, D)
        At least four training rows: twice as many as the generated ones, or more.
    unseen : array, shape (n, D)
        At least two real rows that the model was not trained on.
    progress : bool
        Whether a bar is shown for each fit.

    Returns
    -------
    Estimate
        About 0 for draws from the distribution of real rows. It is a little below, since they are fitted to
        all training rows. The error is that over the unseen rows and the centres, with the variances fixed.

    Raises
    ------
    TypeError
        If the rows do not hold real numbers.
    ValueError
        If the rows are not a finite matrix, are too few, or differ in their number of columns, or a column of
        `unseen` has one value only.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid.metrics import feature_likelihood_divergence
    >>> train, unseen, honest = np.random.default_rng(0).normal(size=(3, 200, 8))
    >>> print(feature_likelihood_divergence(honest, train, unseen))
    -0.8358 ± 1.6
    >>> print(feature_likelihood_divergence(1.5 * honest, train, unseen))
    18.44 ± 2
    """
    generated, train = check_pair("generated", generated, "train", train, least=2, least_second=4)
    unseen = check_matrix("unseen", unseen, 2, n_columns=train.shape[1])
    mean, deviation = unseen.mean(axis=0, dtype=np.float64), unseen.std(axis=0, dtype=np.float64)
    if not deviation.all():
        raise ValueError(f"unseen: expected columns that vary; got {int(np.sum(deviation == 0))} that do not")

    def standardised(rows: np.ndarray) -> np.ndarray:
        return (rows - mean) / deviation

    train = standardised(train[np.random.default_rng(0).permutation(len(train))])
    half = len(train) // 2
    count = min(len(generated), half)
    generated, unseen = standardised(generated[:count]), standardised(unseen)
    losses = [
        _losses(centres, rows, unseen, label, progress)
        for centres, rows, label in (
            (generated, train, "variances of generated rows"),
            (train[:count], train[half:], "variances of training rows"),
        )
    ]
    (of_generated, by_generated), (of_train, by_train) = losses
    worse = of_generated - of_train
    variance = sum(np.var(parts, ddof=1) / len(parts) for parts in (worse, by_generated, by_train))
    unit = 100 / train.shape[1]
    return Estimate(unit * float(worse.mean()), unit * math.sqrt(variance))


def _losses(
    centres: np.ndarray, train: np.ndarray, unseen: np.ndarray, label: str, progress: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Give the negative log-likelihood of each unseen row under Gaussians that are fitted to training rows.

    The second array gives the multiple of its equal share of the unseen rows that each centre takes: the
    derivative of the mean log-likelihood by the centre's weight.
    """
    count = len(centres)
    size = max(1, min(_PAIRS // count, len(train), len(unseen)))
    variances = _fit_variances(centres, train, size, label, progress)
    log_weights = np.full(count, -math.log(count))
    with jax.enable_x64(True):
        logs, shares, _ = _pass(unseen, size, centres, variances, log_weights)
    return -logs, shares * count / len(unseen)


def _fit_variances(
    centres: np.ndarray, train: np.ndarray, size: int, label: str, progress: bool
) -> np.ndarray:
    """Fit the variance of the Gaussian on each centre under which training rows are most likely."""
    d = train.shape[1]
    with jax.enable_x64(True):
        # Rows that pad a batch are copies, and bring nothing nearer.
        of_batches = [_least_squares(batch, centres) for _, batch in padded_batches(train, size)]
    nearest = np.min(np.stack(of_batches), axis=0) / d
    variances = np.maximum(np.append(nearest, train.var(axis=0).mean()), _LEAST_VARIANCE)
    centres = np.concatenate([centres, train.mean(axis=0)[None]])
    log_weights = np.append(np.full(len(nearest), -math.log(len(nearest))), 0.0)
    before = -math.inf
    with jax.enable_x64(True), progress_bar(label, _MOST_PASSES, enabled=progress, unit="passes") as advance:
        for _ in range(_MOST_PASSES):
            logs, shares, spreads = _pass(train, size, centres, variances, log_weights)
            # A Gaussian with no likely rows keeps its variance.
            new = np.divide(spreads, d * shares, out=variances.copy(), where=shares > 0)
            variances = np.maximum(new, _LEAST_VARIANCE)
            advance(1)
            likelihood = logs.mean() / d
            if likelihood - before < _GAIN:
                break
            before = likelihood
    return variances[:-1]


def _pass(
    rows: np.ndarray, size: int, centres: np.ndarray, variances: np.ndarray, log_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Look at all pairs of rows and centres once, `size` rows at a time.

    Returns
    -------
    logs : ndarray, shape (n,)
        Log-likelihood of each row.
    shares, spreads : ndarray, shape (m,)
        For each Gaussian, its parts of all rows, and of their squared distances to it.
    """
    logs, shares, spreads = np.empty(len(rows)), np.zeros(len(centres)), np.zeros(len(centres))
    for block, batch in padded_batches(rows, size):
        count = block.stop - block.start
        sums = _expect(batch, count, centres, variances, log_weights)
        of_rows, of_shares, of_spreads = map(np.asarray, sums)
        logs[block] = of_rows[:count]
        shares += of_shares
        spreads += of_spreads
    return logs, shares, spreads


@jax.jit
def _least_squares(rows: jax.Array, centres: jax.Array) -> jax.Array:
    return jnp.min(squares(rows, centres)[0], axis=0)


@jax.jit
def _expect(
    rows: jax.Array, count: int, centres: jax.Array, variances: jax.Array, log_weights: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Give what :func:`_pass` gives, for the first `count` rows of a batch."""
    apart = jnp.maximum(squares(rows, centres)[0], 0)
    log_norms = log_weights - rows.shape[1] / 2 * jnp.log(2 * jnp.pi * variances)
    parts = log_norms[None, :] - apart / (2 * variances[None, :])
    logs = logsumexp(parts, axis=1)
    counted = jnp.arange(len(rows)) < count
    shares = jnp.where(counted[:, None], jnp.exp(parts - logs[:, None]), 0)
    return logs, jnp.sum(shares, axis=0), jnp.sum(shares * apart, axis=0)
