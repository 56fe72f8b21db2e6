"""The PCA state: what is learned from latents, and all that sampling needs to know about them."""

import dataclasses
import operator
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from ellipsoid.archive import load_archive, save_archive
from ellipsoid.checks import check_matrix

_FORMAT = "ellipsoid.PCAState"
_FORMAT_VERSION = 1


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PCAState:
    """Principal axes of a set of latents, and the half width of the data along each of them.

    A frozen pytree whose fields are all data: states pass through ``jit``, and can be stacked and mapped over
    with ``vmap``. Made by :func:`ellipsoid.fit`, :func:`ellipsoid.fit_moments` and :meth:`load`, which check
    what they make; the constructor does not.

    Attributes
    ----------
    mean : Array, shape (D,)
        Centre of the latents.
    components : Array, shape (K, D)
        Principal axes: orthonormal rows, by decreasing variance. The entry of largest magnitude in each row
        is positive.
    scale : Array, shape (K,)
        Gaussian-equivalent standard deviation of each score, in latent units, by some half-width method.
    explained_variance : Array, shape (K,)
        Variance of each score, in squared latent units, with divisor n - 1.
    explained_variance_ratio : Array, shape (K,)
        Share of the total variance of the latents that each component holds.
    n_samples : int
        Number of latents that the state was fitted on.
    """

    mean: jax.Array
    components: jax.Array
    scale: jax.Array
    explained_variance: jax.Array
    explained_variance_ratio: jax.Array
    n_samples: int | jax.Array

    @property
    def n_components(self) -> int:
        """Number of components K."""
        return self.components.shape[-2]

    @property
    def n_features(self) -> int:
        """Number of latent dimensions D."""
        return self.components.shape[-1]

    def project(self, z: ArrayLike) -> jax.Array:
        """Scores of latents, ``(z - mean) @ components.T``.

        Parameters
        ----------
        z : array, shape (..., D)
            Latents.

        Returns
        -------
        Array, shape (..., K)
            Scores in latent units, in the precision of the state.

        Raises
        ------
        ValueError
            If the last axis of `z` does not have D entries.
        """
        z = _with_last_axis("z", z, self.n_features, self.mean.dtype)
        # Centred first, as a large mean would cost digits in the product, and at the highest precision, as
        # the default of some accelerators (TF32, bfloat16) keeps two or three digits only.
        centred = z - jnp.broadcast_to(self.mean, z.shape)
        return jnp.matmul(centred, self.components.T, precision=jax.lax.Precision.HIGHEST)

    def reconstruct(self, y: ArrayLike) -> jax.Array:
        """Latents of scores, ``mean + y @ components``.

        Parameters
        ----------
        y : array, shape (..., K)
            Scores in latent units.

        Returns
        -------
        Array, shape (..., D)
            Latents, in the precision of the state.

        Raises
        ------
        ValueError
            If the last axis of `y` does not have K entries.
        """
        y = _with_last_axis("y", y, self.n_components, self.mean.dtype)
        centred = jnp.matmul(y, self.components, precision=jax.lax.Precision.HIGHEST)
        return centred + jnp.broadcast_to(self.mean, centred.shape)

    def truncate(self, k: int) -> Self:
        """Keep the first `k` components.

        Raises
        ------
        ValueError
            If `k` is not between 1 and K.
        """
        k = operator.index(k)
        if not 1 <= k <= self.n_components:
            raise ValueError(f"k: expected 1 to {self.n_components}, the number of components; got {k}")
        return dataclasses.replace(
            self,
            components=self.components[..., :k, :],
            scale=self.scale[..., :k],
            explained_variance=self.explained_variance[..., :k],
            explained_variance_ratio=self.explained_variance_ratio[..., :k],
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the state to `path`, in NumPy's ``.npz`` format, completely or not at all.

        The file appears under exactly this name, by a rename, and replaces one that is there.

        Raises
        ------
        ValueError
            If the fields do not make one valid state: a stack of states, say, or values that are not finite.
        """
        fields = {name: np.asarray(getattr(self, name)) for name in FIELDS}
        check_fields(fields)
        save_archive(path, _FORMAT, _FORMAT_VERSION, fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a state that :meth:`save` wrote. Nothing is ever unpickled.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, is not a PCA state, or is of another format version.
        """
        fields = load_archive(path, _FORMAT, _FORMAT_VERSION, "PCA state", FIELDS, check_fields)
        return cls.from_fields(fields)

    @classmethod
    def from_fields(cls, fields: Mapping[str, np.ndarray]) -> Self:
        """Make a state, or a stack of them, of arrays by name, as they are."""
        n_samples = fields["n_samples"]
        values = {name: jnp.asarray(fields[name]) for name in FIELDS if name != "n_samples"}
        return cls(**values, n_samples=jnp.asarray(n_samples) if n_samples.ndim else int(n_samples))


#: Names of what a state consists of.
FIELDS = tuple(field.name for field in dataclasses.fields(PCAState))


def _with_last_axis(name: str, value: ArrayLike, size: int, dtype: DTypeLike) -> jax.Array:
    array = jnp.asarray(value, dtype)
    if array.ndim == 0 or array.shape[-1] != size:
        raise ValueError(f"{name}: expected shape (..., {size}); got {array.shape}")
    return array


def check_fields(fields: Mapping[str, np.ndarray]) -> None:
    """Raise ``ValueError`` if arrays by name do not make one valid state."""
    components, n_samples = fields["components"], fields["n_samples"]
    if components.ndim != 2 or not 1 <= components.shape[0] <= components.shape[1]:
        raise ValueError(f"components: expected shape (K, D) with 1 <= K <= D; got {components.shape}")
    k, d = components.shape
    if n_samples.shape != () or n_samples.dtype.kind not in "iu" or n_samples < 1:
        raise ValueError(f"n_samples: expected one integer above 0; got {n_samples}")
    for name, value in fields.items():
        if name == "n_samples":
            continue
        shape = {"components": (k, d), "mean": (d,)}.get(name, (k,))
        if value.shape != shape or value.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"{name}: expected float32 or float64 of shape {shape}; got {value.dtype}{value.shape}"
            )
        if not np.isfinite(value).all():
            raise ValueError(f"{name}: expected finite values; got NaN or infinity")
    if not (fields["scale"] > 0).all():
        raise ValueError("scale: expected positive values")


def check_latents(state: PCAState, latents: ArrayLike, name: str = "latents") -> np.ndarray:
    """Return latents as a matrix of at least 8 rows, with the columns that the state was fitted to.

    Raises
    ------
    TypeError
        If `state` is no single state, or the latents do not hold real numbers.
    ValueError
        If the latents are no finite matrix, too few, or have other columns.
    """
    if not isinstance(state, PCAState):
        raise TypeError("state: expected one PCAState; of a mixture pass mixture.shared or mixture.part(i)")
    rows = check_matrix(name, latents, least=8)
    if rows.shape[1] != state.n_features:
        raise ValueError(f"{name}: expected {state.n_features} columns, as the state; got {rows.shape}")
    return rows
