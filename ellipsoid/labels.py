"""Checks of labels and attributes of latents: one label for each row, or any number of attributes."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from ellipsoid.checks import check_unmasked

#: One label; several labels, of which a row needs one; or attributes, all of which a row must match.
Label = str | float | Sequence[str | float] | Mapping[str, bool]


def label_index(name: object, names: tuple[str, ...], owner: str) -> int:
    """Return the index of a label among `names`; `owner` says in messages which shapes have labels.

    Raises
    ------
    TypeError
        If the label is neither text nor a number.
    ValueError
        If the label is unknown, or if there are no names.
    """
    if not isinstance(name, str | int | float | np.integer | np.floating | np.bool_):
        raise TypeError(f"label: expected text or a number; got {name!r}")
    texts = [str(name)]
    if isinstance(name, float | np.floating) and np.isfinite(name) and name == np.rint(name):
        texts.insert(0, str(int(name)))
    if not names:
        raise ValueError(f"label: expected None, since only {owner} has labels; got {texts[0]!r}")
    # Whole numbers in a column of fractions keep their decimal point: "1.0".
    text = next((text for text in texts if text in names), None)
    if text is None:
        raise ValueError(f"label: expected one of {', '.join(names)}; got {texts[0]!r}")
    return names.index(text)


def check_names(names: np.ndarray, symbol: str) -> None:
    """Raise ``ValueError`` unless the names in a file are text of shape ``(symbol,)``."""
    if names.ndim != 1 or (len(names) and names.dtype.kind != "U"):
        raise ValueError(f"names: expected text of shape ({symbol},); got {names.dtype}{names.shape}")


def as_attributes(labels: Mapping[str, ArrayLike], n: int) -> dict[str, np.ndarray]:
    """Return attributes by name, each as booleans ``(n,)``.

    Raises
    ------
    TypeError
        If there are no attributes, a name is not text, or a column does not hold booleans.
    ValueError
        If a column does not have `n` rows, or has masked ones.
    """
    if not labels or not all(isinstance(name, str) for name in labels):
        raise TypeError(f"labels: expected attributes by name; got {list(labels)!r}")
    columns = {name: np.asarray(check_unmasked("labels", column)) for name, column in labels.items()}
    for name, column in columns.items():
        if column.shape != (n,):
            raise ValueError(f"labels: expected {n} booleans for {name!r}; got shape {column.shape}")
        if column.dtype != bool:
            raise TypeError(f"labels: expected booleans for {name!r}; got {column.dtype}")
    return columns


def as_labels(labels: ArrayLike | Sequence[Hashable], n: int) -> np.ndarray:
    """Return labels as a sortable array ``(n,)``; equal texts mean equal labels.

    Raises
    ------
    ValueError
        If there is not one label for each of `n` rows, or if some are missing (None, NaN, NA or NaT), masked
        or infinite.
    """
    labels = check_unmasked("labels", labels)
    # NumPy would turn None and NaN in a list of text into the texts "None" and "nan".
    values = np.asarray(labels, object) if isinstance(labels, list | tuple) else np.asarray(labels)
    if values.shape != (n,):
        raise ValueError(f"labels: expected one for each of {n} latents; got shape {values.shape}")
    missing = _is_missing(values)
    if missing.any():
        raise ValueError(
            f"labels: expected one for each row; got missing ones (None, NaN, NA or NaT) in "
            f"{missing.sum()} of {n} rows, first in row {missing.argmax()}; leave these rows out"
        )
    values = np.asarray(labels)
    if values.dtype.kind == "S":
        return np.char.decode(values)
    if values.dtype == object:
        return np.array([str(value) for value in values])
    if values.dtype.kind == "f":
        infinite = np.isinf(values)
        if infinite.any():
            raise ValueError(
                f"labels: expected finite numbers; got infinity in {infinite.sum()} of {n} rows, first in "
                f"row {infinite.argmax()}"
            )
        if (values == np.rint(values)).all():
            # NumPy would change the value of an integer beyond 64 bits.
            fits = np.abs(values).max(initial=0) < 2.0**63
            return values.astype(np.int64) if fits else np.array([int(value) for value in values], object)
    return values


def _is_missing(values: np.ndarray) -> np.ndarray:
    """Whether each label of ``(n,)`` is None, NaN, NaT or pandas's NA."""
    if values.dtype == object:
        return np.fromiter(map(_is_none_or_nan, values), bool, len(values))
    if values.dtype.kind in "mM":
        return np.isnat(values)
    return np.isnan(values) if values.dtype.kind in "fc" else np.zeros(len(values), bool)


def _is_none_or_nan(value: Any) -> bool:
    if value is None:
        return True
    try:
        return bool(value != value)  # only NaN and NaT differ from themselves
    except TypeError:  # pandas's NA has no truth value
        return True
