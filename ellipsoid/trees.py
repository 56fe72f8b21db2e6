"""Pytrees of arrays as values: their equality, and their text."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike


def has_values(tree: Any) -> bool:
    """Return whether all leaves are readable numbers and arrays: no tracers, shapes or donated arrays."""

    def can_be_read(leaf):
        if isinstance(leaf, jax.Array):
            return not isinstance(leaf, Tracer) and leaf.is_fully_addressable and not leaf.is_deleted()
        return isinstance(leaf, int | float | np.number | np.ndarray)

    return all(map(can_be_read, jax.tree.leaves(tree)))


def same_values(a: Any, b: Any) -> bool:
    """Return whether two pytrees have the same structure, and arrays of the same shapes, types and values.

    Integers are compared by value alone: a Python ``int`` equals the array that ``jit`` makes of it.

    Raises
    ------
    TypeError
        If a leaf is a tracer, whose value is not known yet.
    """
    if jax.tree.structure(a) != jax.tree.structure(b):
        return False
    leaves = jax.tree.leaves(a), jax.tree.leaves(b)
    if any(isinstance(leaf, Tracer) for side in leaves for leaf in side):
        raise TypeError(
            f"==: expected a {type(a).__name__} with known values; got one inside jit, vmap or grad, "
            "where values are not known yet; compare outside of it, or single fields by jnp.array_equal"
        )
    return all(_same_array(x, y) for x, y in zip(*leaves, strict=True))


def _same_array(x: Any, y: Any) -> bool:
    x, y = np.asarray(x), np.asarray(y)
    integers = x.dtype.kind in "iu" and y.dtype.kind in "iu"
    return (integers or x.dtype == y.dtype) and np.array_equal(x, y)


def repr_of_shapes(record: Any) -> str:
    """Return the type and shape of each field of a dataclass, which may hold anything."""

    def text(value):
        if hasattr(value, "shape") and hasattr(value, "dtype"):
            return f"{value.dtype}[{','.join(map(str, value.shape))}]"
        words = repr(value)
        return words if len(words) <= 300 else words[:297] + "..."

    fields = [f"{field.name}={text(getattr(record, field.name))}" for field in dataclasses.fields(record)]
    return f"{type(record).__name__}({', '.join(fields)})"


def repr_of_numbers(values: ArrayLike, n_first: int = 5) -> str:
    """Return the range of numbers, and the first few of them: "0.5 to 2 (2, 1.41, 0.5)"."""
    numbers = np.asarray(values, np.float64)
    first = ", ".join(f"{number:.3g}" for number in numbers[:n_first])
    more = ", ..." if len(numbers) > n_first else ""
    return f"{numbers.min():.3g} to {numbers.max():.3g} ({first}{more})" if len(numbers) > 1 else first


def repr_of_names(names: Sequence[str], n: int = 10) -> str:
    """Return the first few names, and how many more there are."""
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
