"""A mixture of PCA states, for latents that one ellipsoid does not describe, and for labels."""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import ArrayLike

from ellipsoid.archive import Description, Entries, Format, load_archive, save_archive
from ellipsoid.cells import preformatted, table_of_rows
from ellipsoid.checks import check_integer, check_unmasked
from ellipsoid.forks import check_process
from ellipsoid.labels import Label, check_names, label_index
from ellipsoid.state import FIELDS, PCAState, check_fields, is_one_state
from ellipsoid.trees import has_values, repr_of_names, repr_of_numbers, repr_of_shapes, same_values

FORMAT = Format("ellipsoid.Mixture", 1, "mixture")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Mixture:
    """Several PCA states within one subspace, the parts, each with a weight.

    :func:`ellipsoid.sample`, :func:`ellipsoid.generate` and all similar functions take a mixture in place of
    a state. It is a frozen pytree. :func:`ellipsoid.fit_mixture`, :func:`ellipsoid.fit_by_label` and
    :meth:`load` make and check it; the constructor does not check. ``==`` and hash work as for
    :class:`PCAState`, and include the labels.

    Attributes
    ----------
    weights : Array, shape (M,)
        Share of each part; the shares sum to 1.
    parts : PCAState
        The M parts as one stack: each field has a leading axis for mean, axes, scale and variance of the
        parts. The `n_samples` of a part is the number of latents that it describes.
    shared : PCAState
        State of all latents together; its K components span the subspace that holds the axes of all parts.
    names : tuple of L str
        Names of the labels; empty for a mixture without labels.
    has : tuple of M tuples of L bool
        Whether each part has each of the labels.
    """

    weights: jax.Array
    parts: PCAState
    shared: PCAState
    names: tuple[str, ...] = field(default=(), metadata={"static": True})
    has: tuple[tuple[bool, ...], ...] = field(default=(), metadata={"static": True})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and same_values(self, other)

    def __repr__(self) -> str:
        if not self._is_single():
            return repr_of_shapes(self)
        lines = [
            f"Mixture: {self.n_parts} parts in {self.n_components} of {self.n_features} components, "
            f"fitted to {int(self.shared.n_samples):,} latents ({self.weights.dtype})",
            f"explained variance: {float(np.sum(self.shared.explained_variance_ratio)):.1%} of the total",
            f"weights: {repr_of_numbers(self.weights)}",
            f"scale: {np.min(self.scale):.3g} to {np.max(self.scale):.3g}",
        ]
        if self.names:
            lines.append(f"labels: {repr_of_names(self.names)}")
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        if not self._is_single():
            return preformatted(repr(self))
        rows = [
            ("parts", str(self.n_parts)),
            ("components", f"{self.n_components} of {self.n_features}"),
            ("latents", f"{int(self.shared.n_samples):,}"),
            ("explained variance", f"{float(np.sum(self.shared.explained_variance_ratio)):.1%}"),
            ("weights", repr_of_numbers(self.weights)),
            ("scale", f"{np.min(self.scale):.3g} to {np.max(self.scale):.3g}"),
        ]
        if self.names:
            rows.append(("labels", repr_of_names(self.names)))
        return table_of_rows("Mixture", rows)

    def _is_single(self) -> bool:
        """Whether the fields hold the values of one mixture."""
        single = has_values((self.weights, self.parts)) and is_one_state(self.shared)
        return bool(single and np.ndim(self.weights) == 1 and np.ndim(self.scale) == 2 and self.n_parts)

    @property
    def n_parts(self) -> int:
        """Number of parts M."""
        return self.weights.shape[0]

    @property
    def n_components(self) -> int:
        """Number of components K of the subspace, and of each part."""
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
        """Return one part as a state.

        Parameters
        ----------
        index : int
            Number of the part, 0 to M - 1.

        Raises
        ------
        IndexError
            If `index` is not between 0 and M - 1.
        TypeError
            If `index` is not an integer.
        RuntimeError
            If the process was forked after JAX had been used.
        """
        check_process()
        index = check_integer("index", index)
        if not 0 <= index < self.n_parts:
            raise IndexError(f"index: expected 0 to {self.n_parts - 1}; got {index}")
        return jax.tree.map(lambda leaf: leaf[index], self.parts)

    def select(self, label: Label) -> Self:
        """Keep the parts that have a label.

        Parameters
        ----------
        label : str, number, sequence of these, or mapping of str to bool
            One label; several labels, of which a part needs one; or attributes, all of which a part must
            match: ``{"Smiling": True, "Male": False}``.

        Returns
        -------
        Mixture
            Mixture of these parts alone; their weights are rescaled to sum to 1.

        Raises
        ------
        TypeError
            If `label` has the wrong type.
        ValueError
            If a label is unknown, or no part has this combination.
        """
        keep = np.flatnonzero(self._selected(label))
        if not len(keep):
            raise ValueError(f"label: expected a combination that at least one part has; got {label!r}")
        weights = self.weights[keep]
        return type(self)(
            weights / jnp.sum(weights),
            jax.tree.map(lambda leaf: leaf[keep], self.parts),
            self.shared,
            self.names,
            tuple(self.has[m] for m in keep),
        )

    def _selected(self, label: Label) -> np.ndarray:
        """Whether each part has the label, ``(M,)``."""
        has = np.array(self.has, bool).reshape(self.n_parts, len(self.names))

        def has_label(name):
            return has[:, label_index(name, self.names, "a mixture that ellipsoid.fit_by_label fitted")]

        if isinstance(label, Mapping):
            for name, wanted in label.items():
                if not isinstance(wanted, bool | np.bool_):
                    raise TypeError(f"label: expected True or False for {name!r}; got {wanted!r}")
            conditions = [has_label(name) == wanted for name, wanted in label.items()]
            return np.logical_and.reduce([np.ones(self.n_parts, bool), *conditions])
        alternatives = label if isinstance(label, list | tuple | np.ndarray) else [label]
        return np.logical_or.reduce([np.zeros(self.n_parts, bool), *map(has_label, alternatives)])

    def project(self, z: ArrayLike) -> jax.Array:
        """Compute scores of latents on the axes that all parts share, ``(..., K)``.

        Scores of draws, and those that :meth:`reconstruct` takes, differ: they lie on the axes of the parts.

        Parameters
        ----------
        z : array, shape (..., D)
            Latents of any real type.

        Returns
        -------
        Array, shape (..., K)
            Scores in latent units, in the precision of the mixture.

        Raises
        ------
        ValueError
            If the last axis of `z` does not have D entries, or some values are masked.
        """
        return self.shared.project(z)

    def reconstruct(self, y: ArrayLike, part: ArrayLike) -> jax.Array:
        """Compute latents from scores on the axes of parts, ``mean[part] + y @ components[part]``.

        Parameters
        ----------
        y : array, shape (n, K)
            Scores in latent units.
        part : array, shape (n,)
            Number of the part that each row belongs to.

        Returns
        -------
        Array, shape (n, D)
            Latents, in the precision of the mixture.

        Raises
        ------
        ValueError
            If `y` does not have K columns, `part` does not have as many rows, or either has masked values.
        RuntimeError
            If the process was forked after JAX had been used.
        """
        check_process()
        y = jnp.asarray(check_unmasked("y", y), self.shared.mean.dtype)
        part = jnp.asarray(check_unmasked("part", part))
        if y.ndim != 2 or y.shape[1] != self.n_components:
            raise ValueError(f"y: expected shape (n, {self.n_components}); got {y.shape}")
        if part.shape != y.shape[:1]:
            raise ValueError(f"part: expected shape {y.shape[:1]}; got {part.shape}")
        return apply_by_part(PCAState.reconstruct, self.parts, part, y)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the mixture to `path`, as :meth:`PCAState.save` does.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If the fields do not make a valid mixture.
        """
        arrays = {
            "weights": np.asarray(self.weights),
            "names": np.array(self.names, str),
            "has": np.array(self.has, bool).reshape(self.n_parts, len(self.names)),
        }
        for owner in ("shared", "parts"):
            state = getattr(self, owner)
            arrays |= {f"{owner}.{name}": np.asarray(getattr(state, name)) for name in FIELDS}
        _check_arrays(arrays)
        save_archive(path, FORMAT, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a mixture that :meth:`save` wrote. Pickled data is never loaded.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is damaged, is not a mixture, or has another format version.
        """
        return load_archive(path, FORMAT, cls._from_entries)

    @classmethod
    def _from_entries(cls, arrays: Entries, _: Description) -> Self:
        _check_arrays(arrays)
        return cls(
            jnp.asarray(arrays["weights"]),
            PCAState.from_fields(_fields_of("parts", arrays)),
            PCAState.from_fields(_fields_of("shared", arrays)),
            tuple(arrays["names"].tolist()),
            tuple(map(tuple, arrays["has"].tolist())),
        )


def _fields_of(owner: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the fields of the shared state, or of the stacked parts, by name."""
    return {name: arrays[f"{owner}.{name}"] for name in FIELDS}


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    weights, names, has = arrays["weights"], arrays["names"], arrays["has"]
    if weights.ndim != 1 or not len(weights) or weights.dtype.kind != "f":
        raise ValueError(f"weights: expected numbers of shape (M,); got {weights.dtype}{weights.shape}")
    total = weights.sum(dtype=np.float64)
    if not ((weights > 0).all() and abs(total - 1) < 1e-4):
        raise ValueError(
            f"weights: expected positive numbers with the sum 1; got {weights.min()} to {weights.max()} with "
            f"the sum {total}"
        )
    check_names(names, "L")
    if has.dtype != bool or has.shape != (len(weights), len(names)):
        expected = len(weights), len(names)
        raise ValueError(f"has: expected booleans of shape {expected}; got {has.dtype}{has.shape}")
    shared, parts = _fields_of("shared", arrays), _fields_of("parts", arrays)
    check_fields(shared)
    for name, value in parts.items():
        expected = (len(weights), *shared[name].shape)
        if value.shape != expected:
            raise ValueError(f"parts.{name}: expected shape {expected}; got {value.shape}")
    for m in range(len(weights)):
        check_fields({name: value[m] for name, value in parts.items()})


def apply_by_part(function: Callable[[Any, Any], Any], of_parts: Any, part: jax.Array, rows: Any) -> Any:
    """Apply a function to rows, each together with the values of its part.

    Parameters
    ----------
    function : callable ``(of_part, rows) -> pytree of arrays``
        Function that maps rows to as many rows, each independent of the others.
    of_parts : pytree of arrays, shape (M, ...)
        Values for each part.
    part : array, shape (n,), int32
        Number of the part that each row belongs to.
    rows : array, shape (n, ...)
        Rows to map.

    Returns
    -------
    pytree of arrays, shape (n, ...)
        Results of `function` in the order of the rows.
    """
    if _n_parts(of_parts) == 1:
        return function(_take(of_parts, 0), rows)
    # On a CPU, a batched product with gathered matrices takes twice as long as one product after the other.
    return lax.platform_dependent(
        of_parts,
        part,
        rows,
        cpu=functools.partial(_in_tiles, function, lax.map, 128),
        default=functools.partial(_in_tiles, function, lambda of_tile, tiles: jax.vmap(of_tile)(tiles), 1024),
    )


def _n_parts(of_parts: Any) -> int:
    return jax.tree.leaves(of_parts)[0].shape[0]


def _take(of_parts: Any, index: Any) -> Any:
    """Return the values of the part of this number."""
    return jax.tree.map(lambda leaf: leaf[index], of_parts)


def _in_tiles(
    function: Callable[[Any, Any], Any],
    map_tiles: Callable[[Callable, Any], Any],
    max_tile_rows: int,
    of_parts: Any,
    part: jax.Array,
    rows: Any,
) -> Any:
    """Gather the rows of each part, and map them tile by tile.

    The last tile of a part is padded. The number of tiles therefore depends on shapes alone; unused tiles
    are skipped.
    """
    n, n_parts = part.shape[0], _n_parts(of_parts)
    # Each part pads half a tile on average, so a tile has at most half of the rows of an average part.
    tile_rows = 1 << (min(max(n // (2 * n_parts), 16), max_tile_rows).bit_length() - 1)
    n_tiles = -(-n // tile_rows) + n_parts
    parts, positions, tiles = (lax.iota(np.int32, count) for count in (n_parts, n, n_tiles))

    sorted_part, row = _sorted(part, positions)
    first_position = jnp.searchsorted(sorted_part, parts).astype(np.int32)
    tiles_of_part = -(-jnp.diff(first_position, append=np.int32(n)) // tile_rows)
    end_tile = jnp.cumsum(tiles_of_part)
    # A slot is a row of a tile. These are the slot of each sorted row, the row in each slot, and the inverse:
    slot = positions + ((end_tile - tiles_of_part) * tile_rows - first_position)[sorted_part]
    row_in_slot = jnp.zeros(n_tiles * tile_rows, np.int32).at[slot].set(row)
    slot_of_row = jnp.zeros(n, np.int32).at[row].set(slot)

    def of_tile(tile):
        tile_part, tile_row = tile
        return function(_take(of_parts, tile_part), rows[tile_row])

    def left_over(tile):
        return jax.tree.map(jnp.zeros_like, jax.eval_shape(of_tile, tile))

    tile_part = jnp.searchsorted(end_tile, tiles, side="right")
    results = map_tiles(
        lambda tile: lax.cond(tile[0] < n_parts, of_tile, left_over, tile),
        (tile_part, row_in_slot.reshape(n_tiles, tile_rows)),
    )
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[slot_of_row], results)


def _sorted(part: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the parts in ascending order, and the number of the row that each belongs to."""
    # Single words sort three times as fast as pairs.
    with jax.enable_x64(True):
        half = np.uint64(32)
        words = jnp.sort(part.astype(np.uint64) << half | rows.astype(np.uint64))
        return (words >> half).astype(np.int32), words.astype(np.uint32).astype(np.int32)
