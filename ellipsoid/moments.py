"""Mean and scatter of latents in one pass, streamed in batches and merged across shards.

Two summaries are merged by the formula of Chan, Golub and LeVeque (1979): with delta = mean_b - mean_a,

    mean    = mean_a + delta n_b / n
    scatter = scatter_a + scatter_b + delta delta^T n_a n_b / n.

Each batch is centred on its own mean before its cross product is taken, in float64. No digits are lost if the
mean is many standard deviations away from zero. (The sum of z z^T minus n mean mean^T would lose as many
digits as mean^2 / variance has.)
"""

from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from ellipsoid.blocks import row_slices
from ellipsoid.checks import check_count, check_rows
from ellipsoid.trees import has_values, repr_of_numbers, repr_of_shapes

# Number of NumPy rows that are summed at a time: 8 MB in float64 at D = 256. Four times as many rows exceed
# the cache and take three times as long.
_CHUNK_ROWS = 4096


@jax.tree_util.register_dataclass
@dataclass(frozen=True, repr=False)
class Moments:
    """Number, mean and scatter of the latents seen so far.

    Start from :meth:`empty`; :meth:`update` and :meth:`merge` return new objects. The order and the split of
    the rows change the result by rounding only.

    Attributes
    ----------
    count : int
        Number of rows n.
    mean : ndarray, shape (D,), float64
        Mean of the rows.
    scatter : ndarray, shape (D, D), float64
        Sum of the outer products of the rows' deviations from their mean: n - 1 times the covariance.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid import Moments, fit_moments
    >>> moments = Moments.empty(8)
    >>> for seed in range(5):
    ...     moments = moments.update(np.random.default_rng(seed).normal(size=(100, 8)))
    >>> moments.count
    500
    >>> fit_moments(moments, n_components=3).n_components
    3
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    def __repr__(self) -> str:
        fields = self.count, self.mean, self.scatter
        if not has_values(fields) or [np.ndim(field) for field in fields] != [0, 1, 2]:
            return repr_of_shapes(self)
        lines = [f"Moments: {int(self.count):,} rows of {self.n_features} features"]
        if self.count > 0:
            lines.append(f"mean: {repr_of_numbers(self.mean)}")
        if self.count > 1:
            lines.append(f"standard deviation: {repr_of_numbers(np.sqrt(self.covariance.diagonal()))}")
        return "\n  ".join(lines)

    @classmethod
    def empty(cls, n_features: int) -> Self:
        """Return the moments of no rows in `n_features` dimensions.

        Raises
        ------
        TypeError
            If `n_features` is not an integer.
        ValueError
            If `n_features` is below 1.
        """
        n_features = check_count("n_features", n_features)
        return cls(0, np.zeros(n_features), np.zeros((n_features, n_features)))

    @property
    def n_features(self) -> int:
        """Number of dimensions D."""
        return self.mean.shape[0]

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the rows, with divisor n - 1, shape (D, D).

        Raises
        ------
        ValueError
            If there are fewer than two rows.
        """
        if self.count < 2:
            raise ValueError(f"count: expected at least two rows; got {self.count}")
        return self.scatter / (self.count - 1)

    def update(self, batch: ArrayLike) -> Self:
        """Return the moments with the rows of `batch` added.

        A JAX array is summed on its device, and a sharded one on all of its devices. Other arrays are
        streamed through NumPy.

        Parameters
        ----------
        batch : array, shape (n, D)
            Latents of any real type; n may be 0.

        Raises
        ------
        TypeError
            If `batch` does not hold real numbers.
        ValueError
            If `batch` does not have D columns, or holds NaN, infinite or masked values.
        """
        rows = check_rows("batch", batch)
        if rows.shape[1] != self.n_features:
            raise ValueError(f"batch: expected {self.n_features} columns; got shape {rows.shape}")
        total = self
        if isinstance(rows, np.ndarray):
            for block in row_slices(len(rows), _CHUNK_ROWS):
                chunk = rows[block]
                total = total.merge(type(self)(len(chunk), *_mean_and_scatter(chunk)))
        elif len(rows):
            with jax.enable_x64(True):
                mean, scatter = _device_mean_and_scatter(rows)
            total = total.merge(type(self)(len(rows), np.asarray(mean), np.asarray(scatter)))
        return total

    def merge(self, other: Self) -> Self:
        """Return the moments of the rows of both.

        Parameters
        ----------
        other : Moments
            Moments of other rows with as many dimensions.

        Raises
        ------
        ValueError
            If `other` has another number of dimensions.
        """
        if other.n_features != self.n_features:
            raise ValueError(f"other: expected {self.n_features} dimensions; got {other.n_features}")
        count = self.count + other.count
        if count == 0:
            return self
        share = other.count / count
        delta = other.mean - self.mean
        between = np.outer(delta, delta) * (self.count * share)
        return type(self)(count, self.mean + delta * share, self.scatter + other.scatter + between)


def _mean_and_scatter(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # NumPy computes only one triangle of the symmetric product: it is 1.4 times as fast as XLA on a CPU.
    rows = rows.astype(np.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean
    return mean, centred.T @ centred


@jax.jit
def _device_mean_and_scatter(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    rows = rows.astype(jnp.float64)
    mean = rows.mean(axis=0)
    centred = rows - mean[None, :]
    # On a mesh with explicit axes, JAX must be told the sharding of a product over sharded rows.
    everywhere = NamedSharding(jax.typeof(rows).sharding.mesh, PartitionSpec())
    return mean, jnp.matmul(centred.T, centred, out_sharding=everywhere)
