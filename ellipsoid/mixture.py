"""A mixture of PCA states: for latents that one ellipsoid does not describe, and for labels."""

import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ellipsoid.archive import format_of, load_archive, save_archive
from ellipsoid.state import FIELDS, PCAState, check_fields

_FORMAT = "ellipsoid.Mixture"
_FORMAT_VERSION = 1

#: A label; labels, any of which will do; or attributes, all of which must be as said.
Label = str | float | Sequence[str | float] | Mapping[str, bool]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixture:
    """Several PCA states within one subspace, each with a weight: its parts.

    Takes the place of a state in :func:`ellipsoid.sample`, :func:`ellipsoid.generate` and their like. A
    frozen pytree, made by :func:`ellipsoid.fit_mixture`, :func:`ellipsoid.fit_by_label` and :meth:`load`,
    which check what they make; the constructor does not.

    Attributes
    ----------
    weights : Array, shape (M,)
        Share of each part; together 1.
    parts : PCAState
        The M parts in one, each field with a leading axis: own mean, axes, scale and variance. The
        `n_samples` of a part is the number of latents that it describes.
    shared : PCAState
        Of all latents together; its K components span the subspace in which the axes of all parts lie.
    names : tuple of L str
        The labels that parts may have; empty for a mixture without labels.
    has : tuple of M tuples of L bool
        Which of them each part has.
    """

    weights: jax.Array
    parts: PCAState
    shared: PCAState
    names: tuple[str, ...] = field(default=(), metadata={"static": True})
    has: tuple[tuple[bool, ...], ...] = field(default=(), metadata={"static": True})

    @property
    def n_parts(self) -> int:
        """Number of parts M."""
        return self.weights.shape[0]

    @property
    def n_components(self) -> int:
        """Number of components K, of each part and of the subspace."""
        return self.shared.n_components

    @property
    def n_features(self) -> int:
        """Number of latent dimensions D."""
        return self.shared.n_features

    @property
    def scale(self) -> jax.Array:
        """Scale of each part along each of its axes, ``(M, K)``."""
        return self.parts.scale

    def part(self, index: int) -> PCAState:
        """One part, as a state of its own.

        Raises
        ------
        IndexError
            If there is no such part.
        """
        if not 0 <= index < self.n_parts:
            raise IndexError(f"index: expected 0 to {self.n_parts - 1}; got {index}")
        return jax.tree.map(lambda leaf: leaf[index], self.parts)

    def select(self, label: Label) -> Self:
        """Keep the parts that have a label.

        Parameters
        ----------
        label : str, number, sequence of these, or mapping of str to bool
            A label; several, any of which will do; or attributes, all of which must be as said:
            ``{"Smiling": True, "Male": False}``.

        Returns
        -------
        Mixture
            The weights of the parts that are kept are scaled up to 1 together.

        Raises
        ------
        TypeError
            If `label` is of another kind.
        ValueError
            For an unknown label, or a combination that no part has.
        """
        keep = np.flatnonzero(self._selected(label))
        if not len(keep):
            raise ValueError(f"label: no part of this mixture has {label!r}")
        weights = self.weights[keep]
        return type(self)(
            weights / jnp.sum(weights),
            jax.tree.map(lambda leaf: leaf[keep], self.parts),
            self.shared,
            self.names,
            tuple(self.has[m] for m in keep),
        )

    def _selected(self, label: Label) -> np.ndarray:
        has = np.array(self.has, bool).reshape(self.n_parts, len(self.names))

        def has_label(name):
            if not isinstance(name, str | int | float | np.integer | np.floating | np.bool_):
                raise TypeError(f"label: expected text or a number; got {name!r}")
            if isinstance(name, float | np.floating) and name == int(name):
                name = int(name)
            if str(name) not in self.names:
                known = ", ".join(self.names) or "no labels: fit it with ellipsoid.fit_by_label"
                raise ValueError(f"label: this mixture has no {str(name)!r}; it has {known}")
            return has[:, self.names.index(str(name))]

        if isinstance(label, Mapping):
            for name, wanted in label.items():
                if not isinstance(wanted, bool | np.bool_):
                    raise TypeError(f"label: expected True or False for {name!r}; got {wanted!r}")
            conditions = [has_label(name) == wanted for name, wanted in label.items()]
            return np.logical_and.reduce([np.ones(self.n_parts, bool), *conditions])
        alternatives = label if isinstance(label, list | tuple | np.ndarray) else [label]
        return np.logical_or.reduce([np.zeros(self.n_parts, bool), *map(has_label, alternatives)])

    def project(self, z: ArrayLike) -> jax.Array:
        """Scores of latents on the axes that all parts share, ``(..., K)``; see :meth:`PCAState.project`.

        The scores of draws, and those that :meth:`reconstruct` takes, are others: on the axes of their parts.
        """
        return self.shared.project(z)

    def reconstruct(self, y: ArrayLike, part: ArrayLike) -> jax.Array:
        """Latents of scores on the axes of parts, ``mean[part] + y @ components[part]``.

        Parameters
        ----------
        y : array, shape (n, K)
            Scores in latent units.
        part : (n,) array of integers
            The part that each row belongs to.

        Returns
        -------
        Array, shape (n, D)
            Latents, in the precision of the mixture.

        Raises
        ------
        ValueError
            If `y` does not have K columns, or `part` not as many rows.
        """
        y, part = jnp.asarray(y, self.shared.mean.dtype), jnp.asarray(part)
        if y.ndim != 2 or y.shape[1] != self.n_components:
            raise ValueError(f"y: expected shape (n, {self.n_components}); got {y.shape}")
        if part.shape != y.shape[:1]:
            raise ValueError(f"part: expected shape {y.shape[:1]}; got {part.shape}")
        return apply_by_part(PCAState.reconstruct, self.parts, part, y)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mixture to `path`, as :meth:`PCAState.save` does.

        Raises
        ------
        ValueError
            If the fields do not make a valid mixture.
        """
        fields = {
            "weights": np.asarray(self.weights),
            "names": np.array(self.names, str),
            "has": np.array(self.has, bool).reshape(self.n_parts, len(self.names)),
        }
        for whose in ("shared", "parts"):
            state = getattr(self, whose)
            fields |= {f"{whose}.{name}": np.asarray(getattr(state, name)) for name in FIELDS}
        _check_fields(fields)
        save_archive(path, _FORMAT, _FORMAT_VERSION, fields)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a mixture that :meth:`save` wrote. Nothing is ever unpickled.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, is not a mixture, or is of another format version.
        """
        names = ["weights", "names", "has"]
        names += [f"{whose}.{name}" for whose in ("shared", "parts") for name in FIELDS]
        fields = load_archive(path, _FORMAT, _FORMAT_VERSION, "mixture", names, _check_fields)
        return cls(
            jnp.asarray(fields["weights"]),
            PCAState.from_fields(_fields_of("parts", fields)),
            PCAState.from_fields(_fields_of("shared", fields)),
            tuple(fields["names"].tolist()),
            tuple(map(tuple, fields["has"].tolist())),
        )


def load(path: str | os.PathLike[str]) -> PCAState | Mixture:
    """Read a state or a mixture, whichever was saved.

    Raises
    ------
    FileNotFoundError, ValueError
        As :meth:`PCAState.load`.
    """
    return (Mixture if format_of(path) == _FORMAT else PCAState).load(path)


def _fields_of(whose, fields):
    return {name: fields[f"{whose}.{name}"] for name in FIELDS}


def _check_fields(fields: Mapping[str, np.ndarray]) -> None:
    weights, names, has = fields["weights"], fields["names"], fields["has"]
    if weights.ndim != 1 or not len(weights) or weights.dtype.kind != "f":
        raise ValueError(f"weights: expected numbers of shape (M,); got {weights.dtype}{weights.shape}")
    if not ((weights > 0).all() and abs(weights.sum(dtype=np.float64) - 1) < 1e-4):
        raise ValueError("weights: expected positive numbers that sum up to 1")
    if names.ndim != 1 or (len(names) and names.dtype.kind != "U"):
        raise ValueError(f"names: expected text; got {names.dtype}{names.shape}")
    if has.dtype != bool or has.shape != (len(weights), len(names)):
        raise ValueError(f"has: expected booleans of shape {len(weights), len(names)}; got {has.shape}")
    shared, parts = _fields_of("shared", fields), _fields_of("parts", fields)
    check_fields(shared)
    for name, value in parts.items():
        expected = (len(weights), *shared[name].shape)
        if value.shape != expected:
            raise ValueError(f"parts.{name}: expected shape {expected}; got {value.shape}")
    for m in range(len(weights)):
        check_fields({name: value[m] for name, value in parts.items()})


def apply_by_part(function, of_parts, part, rows):
    """Apply a function to rows together with what belongs to the part of each.

    Parameters
    ----------
    function : callable ``(of_part, rows) -> pytree of arrays``
        With a row for each that it is given, which depends on that one alone.
    of_parts : pytree of arrays, shape (M, ...)
    part : (n,) array of integers
    rows : array, shape (n, ...)

    Returns
    -------
    pytree of arrays, shape (n, ...)
    """
    n_parts = jax.tree.leaves(of_parts)[0].shape[0]
    if n_parts == 1:
        return function(_of_part(of_parts, 0), rows)
    # A batched product with gathered matrices takes twice as long on a CPU as one product after the other.
    return lax.platform_dependent(
        of_parts,
        part,
        rows,
        cpu=functools.partial(_in_tiles, function, lax.map, 128),
        default=functools.partial(_in_tiles, function, lambda of_tile, tiles: jax.vmap(of_tile)(tiles), 1024),
    )


def _of_part(of_parts, index):
    return jax.tree.map(lambda leaf: leaf[index], of_parts)


def _in_tiles(function, over_tiles, most_rows, of_parts, part, rows):
    """Bring the rows of each part together, and work on them a tile at a time.

    The last tile of a part is padded, so that the number of tiles depends on nothing but the shapes; those
    that are left over are skipped.
    """
    n, n_parts = part.shape[0], jax.tree.leaves(of_parts)[0].shape[0]
    # Half a tile of each part is padding: so a tile has at most half of the rows that a part has on average.
    tile_rows = 1 << (min(max(n // (2 * n_parts), 16), most_rows).bit_length() - 1)
    n_tiles = -(-n // tile_rows) + n_parts
    parts, numbers, tiles = (lax.iota(np.int32, count) for count in (n_parts, n, n_tiles))

    sorted_part, row = _sorted(part, numbers)
    first_row = jnp.searchsorted(sorted_part, parts).astype(np.int32)
    tiles_of_part = -(-jnp.diff(first_row, append=np.int32(n)) // tile_rows)
    end_tile = jnp.cumsum(tiles_of_part)
    place = numbers + ((end_tile - tiles_of_part) * tile_rows - first_row)[sorted_part]
    row_at = jnp.zeros(n_tiles * tile_rows, np.int32).at[place].set(row)
    place_of = jnp.zeros(n, np.int32).at[row].set(place)

    def of_tile(tile):
        owner, row = tile
        return function(_of_part(of_parts, owner), rows[row])

    def left_over(tile):
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(of_tile, tile))

    owner = jnp.searchsorted(end_tile, tiles, side="right")
    results = over_tiles(
        lambda tile: lax.cond(tile[0] < n_parts, of_tile, left_over, tile),
        (owner, row_at.reshape(n_tiles, tile_rows)),
    )
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[place_of], results)


def _sorted(part, numbers):
    """Parts in ascending order, and the row number of each."""
    # Single words are sorted three times as fast as pairs.
    with jax.enable_x64(True):
        half = np.uint64(32)
        words = jnp.sort(part.astype(np.uint64) << half | numbers.astype(np.uint64))
        return (words >> half).astype(np.int32), words.astype(np.uint32).astype(np.int32)
