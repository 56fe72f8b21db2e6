r"""Directions of attributes in latent space, from latents without an attribute to latents with it.

Scores are first whitened, :math:`x = \mathrm{diag}(\sigma)^{-1} C (z - \mu)`, with the mean, the principal
axes and the standard deviations of the latents, so that they vary equally in all directions. Fisher's linear
discriminant (1936) of these scores gives a unit vector :math:`w`; the common covariance of both groups is
shrunk by the rule of Ledoit and Wolf (2004). In latent space :math:`w` becomes two vectors:

- the step :math:`v = C^T \mathrm{diag}(\sigma)\, w`, along which an edit moves, and
- the weights :math:`g = C^T \mathrm{diag}(\sigma)^{-1} w` of the reading
  :math:`g \cdot (z - \mu) = w \cdot x`, which says how far along the direction a latent vector lies.

The latents have variance 1 along :math:`w`, so one step is one standard deviation of the reading. It raises
the reading by 1, since :math:`g \cdot v = 1`. Two directions are orthogonal if :math:`g_1 \cdot v_2 = 0`:
a step along the second does not change the reading of the first.
"""

import os
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import jax
import numpy as np
from jax.typing import ArrayLike

from ellipsoid.archive import Description, Entries, Format, load_archive, save_archive
from ellipsoid.blocks import row_slices
from ellipsoid.checks import check_count, check_matrix, check_unmasked
from ellipsoid.fitting import fit
from ellipsoid.labels import as_attributes, as_labels
from ellipsoid.state import PCAState
from ellipsoid.trees import has_values, repr_of_shapes, same_values

FORMAT = Format("ellipsoid.Directions", 1, "set of directions")

#: Smallest number of rows with an attribute, and without it, from which a direction is learned.
MIN_ROWS = 10

_N_FOLDS = 5


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Direction:
    """Direction in latent space along which an attribute changes.

    Make one by :func:`direction`, :func:`directions` or :meth:`load`. It is a frozen pytree, and ``==``
    compares values.

    Attributes
    ----------
    name : str
        Name of the attribute or class.
    vector : array, shape (D,)
        Step towards the attribute, in latent units, float32: one standard deviation of the latents along the
        direction.
    weights : array, shape (D,)
        Weights of the reading: a step of `vector` raises ``(z - mean) @ weights`` by 1, float32.
    mean : array, shape (D,)
        Mean of the latents, float32; the reading is 0 there.
    group_size : array, shape (2,)
        Numbers of rows without and with the attribute.
    group_mean, group_std : array, shape (2,)
        Cross-validated mean and standard deviation of the reading in the group without the attribute and in
        the group with it, in standard deviations of all latents.
    auc : float
        Cross-validated area under the ROC curve: the probability that a row with the attribute lies further
        along than a row without it. It is 0.5 by chance, and 1 if the groups do not overlap.
    auc_error : float
        Standard error of `auc` (DeLong et al., 1988); 0 if the groups do not overlap.
    """

    name: str = field(metadata={"static": True})
    vector: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    group_size: np.ndarray
    group_mean: np.ndarray
    group_std: np.ndarray
    auc: float
    auc_error: float

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and same_values(self, other)

    def __repr__(self) -> str:
        if not has_values(self):
            return repr_of_shapes(self)
        groups = zip(self.group_size, self.group_mean, strict=True)
        without, having = (f"{mean:+.2f} ({size:,} rows)" for size, mean in groups)
        return (
            f"Direction {self.name!r}: {len(self.vector)} latents, "
            f"AUC {self.auc:.3f} ± {self.auc_error:.3f}\n"
            f"  mean with it: {having}, without: {without}, in standard deviations of all latents"
        )

    def score(self, latents: ArrayLike) -> np.ndarray:
        """Compute how far along the direction latents lie.

        Parameters
        ----------
        latents : array, shape (..., D)
            Latents to read.

        Returns
        -------
        array, shape (...)
            Readings, in standard deviations of the latents from their mean, float32.

        Raises
        ------
        TypeError
            If the latents do not hold real numbers.
        ValueError
            If the last axis of the latents does not have D entries, or some values are masked.
        """
        latents = as_vectors("latents", latents, len(self.vector))
        return (latents - self.mean) @ np.asarray(self.weights)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the direction to `path`, as :meth:`Directions.save` does.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        Directions({self.name: self}).save(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Direction":
        """Read a direction from a file that holds only one. Pickled data is never loaded.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is damaged, has another format version, or does not hold exactly one direction.
        """
        loaded = Directions.load(path)
        if len(loaded) != 1:
            raise ValueError(f"path: expected a file with one direction; got {path} with {', '.join(loaded)}")
        return next(iter(loaded.values()))


_ARRAYS = ("vector", "weights", "mean", "group_size", "group_mean", "group_std", "auc", "auc_error")


class Directions(dict[str, Direction]):
    """Directions by name, learned from the same latents by :func:`directions`."""

    def __missing__(self, name: Any) -> Direction:
        raise KeyError(f"direction: expected one of {', '.join(self)}; got {name!r}")

    def __repr__(self) -> str:
        width = max(map(len, self), default=0)
        lines = [
            f"  {name:<{width}}  AUC {one.auc:.3f} ± {one.auc_error:.3f}, "
            f"{one.group_size[1]:,} of {one.group_size.sum():,} rows have it"
            for name, one in self.items()
        ]
        return "\n".join([f"Directions: {len(self)}", *lines])

    def correlations(self) -> np.ndarray:
        """Compute the cosines of the angles between the directions in whitened scores.

        Returns
        -------
        array, shape (M, M)
            Entry ``(i, j)`` is the change of the reading of direction j by one step along direction i,
            float32: 1 on the diagonal, 0 if i does not affect j.
        """
        vectors = np.array([one.vector for one in self.values()], np.float32)
        return vectors @ np.array([one.weights for one in self.values()], np.float32).T

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the directions to `path` in NumPy's ``.npz`` format, completely or not at all.

        The file appears by a rename under exactly this name, and replaces an existing one.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If there are no directions, or they belong to different latents.

        Examples
        --------
        >>> import tempfile
        >>> latents, smiling = np.random.default_rng(0).normal(size=(200, 4)), np.arange(200) < 100
        >>> learned = directions(latents, {"smiling": smiling})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     learned.save(f"{folder}/directions.npz")
        ...     Directions.load(f"{folder}/directions.npz") == learned
        True
        """
        if len({np.shape(one.vector) for one in self.values()}) != 1:
            raise ValueError("directions: expected one or more of the same latents; got others or none")
        arrays = {name: np.stack([getattr(one, name) for one in self.values()]) for name in _ARRAYS}
        arrays["names"] = np.array(list(self), str)
        _check_arrays(arrays)
        save_archive(path, FORMAT, arrays)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read directions that :meth:`save` wrote. Pickled data is never loaded.

        Raises
        ------
        FileNotFoundError
            If the file does not exist.
        ValueError
            If the file is damaged, holds no directions, or has another format version.
        """
        return load_archive(path, FORMAT, cls._from_entries)

    @classmethod
    def _from_entries(cls, arrays: Entries, _: Description) -> Self:
        _check_arrays(arrays)
        loaded = cls()
        for i, name in enumerate(arrays["names"].tolist()):
            values = {key: arrays[key][i] for key in _ARRAYS}
            auc, auc_error = float(values.pop("auc")), float(values.pop("auc_error"))
            loaded[name] = Direction(name=name, **values, auc=auc, auc_error=auc_error)
        return loaded


def _check_arrays(arrays: Mapping[str, np.ndarray]) -> None:
    names, vector = arrays["names"], arrays["vector"]
    if names.ndim != 1 or names.dtype.kind != "U" or not len(names) or len(set(names)) < len(names):
        raise ValueError(f"names: expected different names of shape (M,); got {names.dtype}{names.shape}")
    if vector.ndim != 2 or not vector.shape[1]:
        raise ValueError(f"vector: expected shape (M, D); got {vector.shape}")
    of_groups, of_each = (len(names), 2), (len(names),)
    shapes = dict.fromkeys(("vector", "weights", "mean"), (len(names), vector.shape[1]))
    shapes |= dict.fromkeys(("group_size", "group_mean", "group_std"), of_groups)
    shapes |= dict.fromkeys(("auc", "auc_error"), of_each)
    for name, shape in shapes.items():
        value, kinds = arrays[name], "iu" if name == "group_size" else "f"
        if value.shape != shape or value.dtype.kind not in kinds or not np.isfinite(value).all():
            raise ValueError(
                f"{name}: expected finite numbers of shape {shape}; got {value.dtype}{value.shape}"
            )


# --- learning ----------------------------------------------------------------------------------------


def direction(
    latents: ArrayLike,
    labels: ArrayLike | Sequence[Hashable],
    label: str | float | None = None,
    *,
    against: str | float | None = None,
    name: str | None = None,
    orthogonal: Direction | Sequence[Direction] = (),
    state: PCAState | None = None,
    max_rows: int | None = 20_000,
) -> Direction:
    """Learn the direction of one attribute, or of one class against others.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latent vectors of any real type.
    labels : array or sequence of n booleans or labels
        Presence of the attribute in each row, or the class of each row.
    label : str or number, optional
        Class that the direction leads to; needed if the labels are classes.
    against : str or number, optional
        Class that the direction leads away from; by default all others. Rows of further classes are ignored.
    name : str, optional
        Name of the direction; by default the class, or "attribute".
    orthogonal : Direction or sequence of Direction
        Directions whose readings a step along this one must not change, such as a smile that keeps the sex.
    state : PCAState, optional
        State that whitens the scores; by default one fitted to `latents`. If only some latents have labels,
        pass a state fitted to all of them.
    max_rows : int, optional
        Highest number of rows used of each of the two groups. A larger group is replaced by a random subset,
        the same each time. None uses all rows.

    Returns
    -------
    Direction
        Direction, with its step and how well it separates the two groups.

    Raises
    ------
    TypeError
        If the latents do not hold real numbers, the labels are neither booleans nor classes with a `label`,
        or another argument has the wrong type.
    ValueError
        If the latents are not a finite matrix. If there is not one label for each row, or some are missing or
        masked. If the class is unknown, or fewer than 10 rows have the attribute or lack it. If the
        orthogonal directions belong to other latents, or leave no direction.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> smiling = rng.random(1000) < 0.5
    >>> latents = rng.normal(size=(1000, 8))
    >>> latents[:, 0] += 2 * smiling
    >>> smile = direction(latents, smiling, name="smiling")
    >>> smile
    Direction 'smiling': 8 latents, AUC 0.914 ± 0.009
      mean with it: +0.73 (473 rows), without: -0.66 (527 rows), in standard deviations of all latents
    >>> smile.score(latents[:2] + smile.vector) - smile.score(latents[:2])
    array([1., 1.], dtype=float32)
    """
    rows = check_matrix("latents", latents, 2 * MIN_ROWS)
    has, rows_used = _as_groups(labels, len(rows), label, against)
    chosen = str(label) if label is not None else "attribute"
    others = (orthogonal,) if isinstance(orthogonal, Direction) else tuple(orthogonal)
    whitened = _whiten(rows, state)
    return _learn(whitened, chosen if name is None else name, has, rows_used, others, max_rows)


def directions(
    latents: ArrayLike,
    attributes: Mapping[str, ArrayLike] | ArrayLike | Sequence[Hashable],
    *,
    orthogonal: bool | Sequence[str] = False,
    state: PCAState | None = None,
    max_rows: int | None = 20_000,
) -> Directions:
    """Learn the directions of all attributes, or of each class against the rest.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latent vectors of any real type.
    attributes : mapping of names to n booleans, or array or sequence of n labels
        Attributes, any number of which a row may have, or the class of each row.
    orthogonal : bool or sequence of str
        Names of attributes whose readings a step along any other direction must not change; True means all.
        Classes allow False only, since the directions of all classes but one determine the last.
    state, max_rows
        State that whitens the scores, and the highest number of rows; see :func:`direction`.

    Returns
    -------
    Directions
        Directions by name, in the order of the attributes or of the sorted classes.

    Raises
    ------
    TypeError
        If :func:`direction` would raise it, or if the labels of rows are booleans.
    ValueError
        If :func:`direction` would raise it, if a name in `orthogonal` is unknown, or if there is only one
        class.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> male = rng.random(1000) < 0.5
    >>> smiling = rng.random(1000) < np.where(male, 0.2, 0.8)
    >>> latents = rng.normal(size=(1000, 8))
    >>> latents[:, :2] += 2 * np.stack([smiling, male], axis=1)
    >>> attributes = {"smiling": smiling, "male": male}
    >>> learned = directions(latents, attributes)
    >>> learned.correlations().round(1)
    array([[ 1. , -0.9],
           [-0.9,  1. ]], dtype=float32)
    >>> smile = directions(latents, attributes, orthogonal=["male"])["smiling"]
    >>> bool(abs(smile.vector @ learned["male"].weights) < 1e-6)
    True
    """
    rows = check_matrix("latents", latents, 2 * MIN_ROWS)
    if isinstance(attributes, Mapping):
        groups = as_attributes(attributes, len(rows))
        names = _as_names(orthogonal, tuple(groups))
    else:
        classes = as_labels(attributes, len(rows))
        if classes.dtype == bool:
            raise TypeError(
                "attributes: expected a mapping of names to booleans, or classes; got bare booleans"
            )
        if orthogonal is not False:
            raise ValueError(f"orthogonal: expected False for classes; got {orthogonal!r}")
        groups, names = {str(value): classes == value for value in np.unique(classes)}, ()
    for name, has in groups.items():
        _check_sizes(has, name)
    everything, whitened = np.ones(len(rows), bool), _whiten(rows, state)
    learned = Directions(
        {name: _learn(whitened, name, has, everything, (), max_rows) for name, has in groups.items()}
    )
    if not names:
        return learned
    others = {name: [learned[other] for other in names if other != name] for name in groups}
    return Directions(
        {
            name: _learn(whitened, name, has, everything, others[name], max_rows)
            if others[name]
            else learned[name]
            for name, has in groups.items()
        }
    )


def as_vectors(name: str, values: Any, size: int) -> np.ndarray:
    """Return values as a float32 array ``(..., size)``.

    Raises
    ------
    TypeError
        If `values` are not real numbers.
    ValueError
        If the last axis has another size, or some values are masked.
    """
    array = np.asarray(check_unmasked(name, values))
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise TypeError(f"{name}: expected real numbers; got {array.dtype}")
    if array.ndim == 0 or array.shape[-1] != size:
        raise ValueError(f"{name}: expected a last axis of {size}; got shape {array.shape}")
    return array.astype(np.float32)


def _as_names(orthogonal: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the attributes that steps along others must not change."""
    if isinstance(orthogonal, bool):
        return known if orthogonal else ()
    if isinstance(orthogonal, str) or not isinstance(orthogonal, Sequence):
        raise TypeError(f"orthogonal: expected True, False or names of attributes; got {orthogonal!r}")
    for name in orthogonal:
        if name not in known:
            raise ValueError(f"orthogonal: expected names among {', '.join(known)}; got {name!r}")
    return tuple(orthogonal)


def _as_groups(
    labels: Any, n: int, label: str | float | None, against: str | float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return whether each row has the attribute, and whether it is used."""
    if isinstance(labels, Mapping):
        raise TypeError(
            "labels: expected one label for each row; got a mapping; pass it to ellipsoid.directions"
        )
    classes = as_labels(labels, n)
    if label is None:
        if against is not None:
            raise ValueError(f"against: expected None without a label; got {against!r}")
        if classes.dtype != bool:
            raise TypeError(
                f"labels: expected booleans, or classes together with label=...; got {classes.dtype}; "
                f"a comparison such as `labels == 1` makes booleans"
            )
        has, used = classes, np.ones(n, bool)
    else:
        has = _is_of_class("label", classes, label)
        used = np.ones(n, bool) if against is None else has | _is_of_class("against", classes, against)
        if against is not None and str(label) == str(against):
            raise ValueError(f"against: expected another class than the label; got {against!r} for both")
    _check_sizes(has[used], "the attribute" if label is None else label)
    return has, used


def _is_of_class(argument: str, classes: np.ndarray, label: Any) -> np.ndarray:
    if not isinstance(label, str | int | float | np.number | np.bool_):
        raise TypeError(f"{argument}: expected text or a number; got {label!r}")
    # A whole number names the class whose text has no decimal point.
    whole = isinstance(label, float | np.floating) and np.isfinite(label) and label == np.rint(label)
    texts = {str(label), str(int(label))} if whole else {str(label)}
    unique, index = np.unique(classes, return_inverse=True)
    chosen = np.array([str(value) in texts for value in unique])
    if not chosen.any():
        known = ", ".join(str(value) for value in unique[:10]) + (", ..." if len(unique) > 10 else "")
        raise ValueError(f"{argument}: expected one of {known}; got {label!r}")
    return chosen[index]


def _check_sizes(has: np.ndarray, name: Any) -> None:
    having = int(np.count_nonzero(has))
    if min(having, len(has) - having) < MIN_ROWS:
        raise ValueError(
            f"labels: expected at least {MIN_ROWS} rows with {name} and {MIN_ROWS} without; "
            f"got {having:,} with and {len(has) - having:,} without"
        )


class _Whitened(NamedTuple):
    """Whitened scores of latents, and the affine map back to latents.

    Attributes
    ----------
    scores : ndarray, shape (n, K)
        Scores divided by their standard deviations.
    mean : ndarray, shape (D,)
        Mean of the latents.
    components : ndarray, shape (K, D)
        Principal axes.
    std : ndarray, shape (K,)
        Standard deviations of the scores.
    """

    scores: np.ndarray
    mean: np.ndarray
    components: np.ndarray
    std: np.ndarray


def _whiten(rows: np.ndarray, state: PCAState | None) -> _Whitened:
    if state is None:
        with warnings.catch_warnings():
            # Components without variance are dropped; no direction uses them.
            warnings.simplefilter("ignore", UserWarning)
            state = fit(rows)
    elif not isinstance(state, PCAState):
        raise TypeError(f"state: expected a PCAState or None; got {type(state).__name__}")
    if state.n_features != rows.shape[1]:
        raise ValueError(f"state: expected one with {rows.shape[1]} latents; got {state.n_features}")
    variance = np.asarray(state.explained_variance, np.float64)
    kept = variance > np.finfo(np.float32).tiny
    std = np.sqrt(variance[kept])
    scores = np.empty((len(rows), len(std)), np.float32)
    for block in row_slices(len(rows), 4096):
        scores[block] = np.asarray(state.project(rows[block]))[:, kept] / std
    mean, components = np.asarray(state.mean, np.float64), np.asarray(state.components, np.float64)[kept]
    return _Whitened(scores, mean, components, std)


def _learn(
    whitened: _Whitened,
    name: str,
    has: np.ndarray,
    used: np.ndarray,
    others: Sequence[Direction],
    max_rows: int | None,
) -> Direction:
    from sklearn.model_selection import StratifiedKFold

    basis = _left_by(others, whitened)
    rows = _subset(has, used, max_rows)
    x, has = whitened.scores[rows].astype(np.float64) @ basis, has[rows]
    readings = np.empty(len(x))
    for train, test in StratifiedKFold(_N_FOLDS, shuffle=True, random_state=0).split(x, has):
        readings[test] = x[test] @ _discriminant(x[train], has[train])
    groups = readings[~has], readings[has]
    auc, auc_error = _auc(*groups)
    unit = basis @ _discriminant(x, has)
    return Direction(
        name,
        vector=((whitened.std * unit) @ whitened.components).astype(np.float32),
        weights=((unit / whitened.std) @ whitened.components).astype(np.float32),
        mean=whitened.mean.astype(np.float32),
        group_size=np.array([len(group) for group in groups]),
        group_mean=np.array([group.mean() for group in groups]),
        group_std=np.array([group.std(ddof=1) for group in groups]),
        auc=auc,
        auc_error=auc_error,
    )


def _left_by(others: Sequence[Direction], whitened: _Whitened) -> np.ndarray:
    """Return an orthonormal basis ``(K, L)`` of the whitened steps that change no reading of the others."""
    k = len(whitened.std)
    readings = []
    for other in others:
        if not isinstance(other, Direction):
            raise TypeError(f"orthogonal: expected directions; got {type(other).__name__}")
        if np.shape(other.weights) != whitened.mean.shape:
            raise ValueError(
                f"orthogonal: expected directions of {len(whitened.mean)} latent dimensions; "
                f"got {other.name!r} of {len(other.weights)}"
            )
        readings.append(whitened.std * (whitened.components @ np.asarray(other.weights, np.float64)))
    if not readings:
        return np.eye(k)
    _, size, axes = np.linalg.svd(np.array(readings))
    # Readings are float32, so smaller singular values are rounding.
    rank = int(np.sum(size > 1e-6 * size[0])) if size[0] > 0 else 0
    if rank == k:
        raise ValueError(f"orthogonal: expected fewer directions than components; got {rank} of {k}")
    return axes[rank:].T


def _subset(has: np.ndarray, used: np.ndarray, max_rows: int | None) -> np.ndarray:
    """Return the sorted rows to learn from."""
    rows, rng = [np.flatnonzero(used & (has == value)) for value in (False, True)], np.random.default_rng(0)
    if max_rows is not None:
        check_count("max_rows", max_rows, MIN_ROWS)
        rows = [
            rng.choice(group, max_rows, replace=False) if len(group) > max_rows else group for group in rows
        ]
    return np.sort(np.concatenate(rows))


def _discriminant(x: np.ndarray, has: np.ndarray) -> np.ndarray:
    """Return the unit vector of the linear discriminant, towards the rows with the attribute."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    normal = LinearDiscriminantAnalysis("lsqr", shrinkage="auto").fit(x, has).coef_[0]
    length = np.linalg.norm(normal)
    if not length > 0:
        raise ValueError("labels: expected groups whose latents have different means; got equal means")
    return normal / length


def _auc(without: np.ndarray, having: np.ndarray) -> tuple[float, float]:
    """Return the area under the ROC curve, and its standard error from the placements of DeLong et al."""
    from scipy.stats import rankdata

    n, m = len(without), len(having)
    ranks = rankdata(np.concatenate([without, having]))
    above = (ranks[n:] - rankdata(having)) / n
    below = 1 - (ranks[:n] - rankdata(without)) / m
    return float(above.mean()), float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n))
