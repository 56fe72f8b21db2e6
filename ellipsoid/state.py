"""The PCA state: the shape that is learned from latents, and all that sampling needs to know about them."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from ellipsoid.archive import Description, Entries, Format, load_archive, save_archive
from ellipsoid.cells import preformatted, table_of_rows
from ellipsoid.checks import check_integer, check_matrix, check_unmasked
from ellipsoid.forks import check_process
from ellipsoid.trees import has_values, repr_of_numbers, repr_of_shapes, same_values

FORMAT = Format("ellipsoid.PCAState", 1, "PCA state")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class PCAState:
    """Principal axes of a set of latents, and the half width of the data along each of them.

    The class is a frozen pytree of data fields: states pass through ``jit``, and can be stacked and mapped
    over by ``vmap``. :func:`ellipsoid.fit`, :func:`ellipsoid.fit_moments` and :meth:`load` make and check
    states; the constructor does not check.

    ``==`` is True for two states whose fields have the same shapes, types and values, and False for anything
    else. Inside ``jit``, ``vmap`` or ``grad`` it raises ``TypeError``, since values are not known there.
    A state has no hash.

    Attributes
    ----------
    mean : Array, shape (D,)
        Centre of the latents.
    components : Array, shape (K, D)
        Principal axes: orthonormal rows, by decreasing variance. The entry of largest magnitude in each row
        is positive.
    scale : Array, shape (K,)
        Gaussian-equivalent standard deviation of each score, in latent units, by a half-width method.
    explained_variance : Array, shape (K,)
        Variance of each score, in squared latent units, with divisor n - 1.
    explained_variance_ratio : Array, shape (K,)
        Share of each component in the total variance of the latents.
    n_samples : int
        Number of latents that the state was fitted on.
    """

    mean: jax.Array
    components: jax.Array
    scale: jax.Array
    explained_variance: jax.Array
    explained_variance_ratio: jax.Array
    n_samples: int | jax.Array

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and same_values(self, other)

    def __repr__(self) -> str:
        if not is_one_state(self):
            return repr_of_shapes(self)
        return (
            f"PCAState: {self.n_components} of {self.n_features} components, "
            f"fitted to {int(self.n_samples):,} latents ({self.mean.dtype})\n"
            f"  explained variance: {float(np.sum(self.explained_variance_ratio)):.1%} of the total\n"
            f"  scale: {repr_of_numbers(self.scale)}"
        )

    def _repr_html_(self) -> str:
        if not is_one_state(self):
            return preformatted(repr(self))
        rows = [
            ("components", f"{self.n_components} of {self.n_features}"),
            ("latents", f"{int(self.n_samples):,}"),
            ("explained variance", f"{float(np.sum(self.explained_variance_ratio)):.1%}"),
            ("scale", repr_of_numbers(self.scale)),
        ]
        return table_of_rows("PCAState", rows)

    @property
    def n_components(self) -> int:
        """Number of components K."""
        return self.components.shape[-2]

    @property
    def n_features(self) -> int:
        """Number of latent dimensions D."""
        return self.components.shape[-1]

    def project(self, z: ArrayLike) -> jax.Array:
        """Compute scores of latents, ``(z - mean) @ components.T``.

        Parameters
        ----------
        z : array, shape (..., D)
            Latents of any real type.

        Returns
        -------
        Array, shape (..., K)
            Scores in latent units, in the precision of the state.

        Raises
        ------
        ValueError
            If the last axis of `z` does not have D entries, or some values are masked.
        RuntimeError
            If the process was forked after JAX had been used.

        Examples
        --------
        >>> import numpy as np
        >>> from ellipsoid import fit
        >>> latents = np.random.default_rng(0).normal(size=(500, 8))
        >>> state = fit(latents, n_components=3)
        >>> state.project(latents).shape
        (500, 3)
        """
        z = with_last_axis("z", z, self.n_features, self.mean.dtype)
        # Latents are centred first, since a large mean would cost digits in the product. The product has the
        # highest precision, since the default of some accelerators (TF32, bfloat16) keeps only two or three.
        centred = z - jnp.broadcast_to(self.mean, z.shape)
        return jnp.matmul(centred, self.components.T, precision=jax.lax.Precision.HIGHEST)

    def reconstruct(self, y: ArrayLike) -> jax.Array:
        """Compute latents from scores, ``mean + y @ components``.

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
            If the last axis of `y` does not have K entries, or some values are masked.
        RuntimeError
            If the process was forked after JAX had been used.

        Examples
        --------
        >>> import numpy as np
        >>> from ellipsoid import fit
        >>> state = fit(np.random.default_rng(0).normal(size=(500, 8)), n_components=3)
        >>> centre = state.reconstruct(np.zeros(3))
        >>> bool((centre == state.mean).all())
        True
        """
        y = with_last_axis("y", y, self.n_components, self.mean.dtype)
        centred = jnp.matmul(y, self.components, precision=jax.lax.Precision.HIGHEST)
        return centred + jnp.broadcast_to(self.mean, centred.shape)

    def truncate(self, k: int) -> Self:
        """Keep the first `k` components.

        Parameters
        ----------
        k : int
            Number of components to keep, 1 to K.

        Returns
        -------
        PCAState
            State of the same latents; a stack of states gives a stack.

        Raises
        ------
        TypeError
            If `k` is not an integer.
        ValueError
            If `k` is not between 1 and K.
        RuntimeError
            If the process was forked after JAX had been used.

        Examples
        --------
        >>> import numpy as np
        >>> from ellipsoid import fit
        >>> state = fit(np.random.default_rng(0).normal(size=(500, 8)))
        >>> state.truncate(3).n_components
        3
        """
        check_process()
        k = check_integer("k", k)
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
        """Write the state to `path` in NumPy's ``.npz`` format, completely or not at all.

        The file appears by a rename under exactly this name, and replaces an existing one.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If the fields are not those of one valid state, such as a stack of states or non-finite values.

        Examples
        --------
        >>> import tempfile
        >>> import numpy as np
        >>> from ellipsoid import fit, load
        >>> state = fit(np.random.default_rng(0).normal(size=(500, 8)))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     state.save(f"{folder}/state.npz")
        ...     load(f"{folder}/state.npz") == state
        True
        """
        fields = {name: np.asarray(getattr(self, name)) for name in FIELDS}
        check_fields(fields)
        save_archive(path, FORMAT, fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a state that :meth:`save` wrote. Pickled data is never loaded.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is damaged, is not a PCA state, or has another format version.
        """
        return load_archive(path, FORMAT, cls._from_entries)

    @classmethod
    def _from_entries(cls, arrays: Entries, _: Description) -> Self:
        fields = {name: arrays[name] for name in FIELDS}
        check_fields(fields)
        return cls.from_fields(fields)

    @classmethod
    def from_fields(cls, fields: Mapping[str, np.ndarray]) -> Self:
        """Make a state, or a stack of states, from arrays by name, without checks.

        Parameters
        ----------
        fields : mapping of str to array
            Arrays under the names in `FIELDS`.
        """
        n_samples = fields["n_samples"]
        values = {name: jnp.asarray(fields[name]) for name in FIELDS if name != "n_samples"}
        return cls(**values, n_samples=jnp.asarray(n_samples) if n_samples.ndim else int(n_samples))


#: Names of the fields of a state.
FIELDS = tuple(field.name for field in dataclasses.fields(PCAState))


def is_one_state(state: PCAState) -> bool:
    """Return whether the fields hold one state's values: no tracers, no shapes, no stack of states."""
    values = [getattr(state, name) for name in FIELDS]
    n_axes = [np.ndim(value) for value in values] if has_values(values) else []
    return n_axes == [1, 2, 1, 1, 1, 0] and bool(values[2].size)


def with_last_axis(name: str, value: ArrayLike, size: int, dtype: DTypeLike) -> jax.Array:
    """Return `value` as an array of type `dtype` whose last axis has `size` entries.

    Raises
    ------
    ValueError
        If the last axis has another size, or some values are masked.
    RuntimeError
        If the process was forked after JAX had been used.
    """
    check_process()
    array = jnp.asarray(check_unmasked(name, value), dtype)
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
        largest = np.abs(value).max()
        if float(largest) > float(np.finfo(np.float32).max):
            raise ValueError(
                f"{name}: expected numbers in the range of float32, up to {np.finfo(np.float32).max:.3g}; "
                f"got {largest:.3g}"
            )
    # Scales are compared as float32, whose smallest number is far above that of float64.
    if not (fields["scale"] >= float(np.finfo(np.float32).smallest_subnormal)).all():
        raise ValueError(f"scale: expected positive values; got {fields['scale'].min()}")
    _check_orthonormal(components)


# Axes rounded to float32 are orthonormal to about 1e-6 for any K.
_ORTHONORMAL = 1e-3


def _check_orthonormal(components: np.ndarray) -> None:
    """Raise ``ValueError`` unless the rows are orthonormal."""
    rows = components.astype(np.float64)
    apart = np.abs(rows @ rows.T - np.eye(len(rows))).max()
    if not apart < _ORTHONORMAL:
        raise ValueError(
            f"components: expected orthonormal rows; got products of rows that are off by up to {apart:.3g}"
        )


def check_latents(state: PCAState, latents: ArrayLike, name: str = "latents") -> np.ndarray:
    """Return latents as a matrix of at least 8 rows with the columns that the state was fitted to.

    Parameters
    ----------
    state : PCAState
        State that the latents are compared with.
    latents : array, shape (n, D)
        Latents of any real type.
    name : str
        Name of the argument in messages.

    Raises
    ------
    TypeError
        If `state` is not one state, or the latents do not hold real numbers.
    ValueError
        If the latents are not a finite matrix, are fewer than 8, or have another number of columns.
    """
    if not isinstance(state, PCAState):
        raise TypeError(
            "state: expected one PCAState; for a mixture, pass mixture.shared or mixture.part(i); "
            f"got {type(state).__name__}"
        )
    return check_matrix(name, latents, least=8, n_columns=state.n_features)
