"""Tables of the measurements, with a row for each component or each pair of components."""

import numpy as np

from ellipsoid.diagnostics.diagnose import Diagnostics
from ellipsoid.diagnostics.pairs import correlation, pair_angles

#: Largest number of pairs in a table. It keeps those whose shares deviate most from a Gaussian's.
MOST_PAIRS = 200_000


def component_table(diagnostics: Diagnostics) -> dict[str, np.ndarray]:
    """Tabulate the measurements of each component, as columns by name.

    Parameters
    ----------
    diagnostics : Diagnostics
        Measurements by :func:`diagnose`.

    Returns
    -------
    dict of str to (K,) array
        Columns: ``component``, from 1; ``scale``, its half-width in latent units; and the fields of
        :class:`Marginals` for the scores.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid import diagnostics, fit
    >>> latents = np.random.default_rng(0).normal(size=(100, 3))
    >>> list(component_table(diagnostics.diagnose(fit(latents), latents)))[:4]
    ['component', 'scale', 'mean', 'std']
    """
    measured = diagnostics.principal
    return {
        "component": np.arange(1, diagnostics.n_components + 1),
        "scale": diagnostics.scale_ratio * measured.std,
        **vars(measured),
    }


def pair_table(diagnostics: Diagnostics) -> dict[str, np.ndarray]:
    """Tabulate the measurements of each pair of components, as columns by name.

    Parameters
    ----------
    diagnostics : Diagnostics
        Measurements by :func:`diagnose`.

    Returns
    -------
    dict of str to array
        Columns, for at most `MOST_PAIRS` pairs: ``first`` and ``second``, the numbers of the components, from
        1; ``correlation`` of the scores; ``angle`` of the ellipse in degrees; ``inside_LEVEL``, the share of
        rows inside the ellipse of each level; ``error``, the largest difference of these shares from a
        Gaussian's; ``squares`` and ``distance``, the fields of :class:`Dependence`, which are NaN except
        among the leading components.

    Examples
    --------
    >>> import numpy as np
    >>> from ellipsoid import diagnostics, fit
    >>> latents = np.random.default_rng(0).normal(size=(100, 3))
    >>> pairs = pair_table(diagnostics.diagnose(fit(latents), latents))
    >>> pairs["first"], pairs["second"]
    (array([1, 1, 2]), array([2, 3, 3]))
    """
    shares, dependence = diagnostics.calibration, diagnostics.dependence
    i, j = np.triu_indices(diagnostics.n_components, 1)
    errors = shares.errors[i, j]
    if len(i) > MOST_PAIRS:
        kept = np.sort(np.argsort(-errors, kind="stable")[:MOST_PAIRS])
        i, j, errors = i[kept], j[kept], errors[kept]
    leading = j < len(dependence.squares)
    squares, distance = np.full((2, len(i)), np.nan)
    squares[leading] = dependence.squares[i[leading], j[leading]]
    distance[leading] = dependence.distance[i[leading], j[leading]]
    return {
        "first": i + 1,
        "second": j + 1,
        "correlation": correlation(diagnostics.covariance_after)[i, j],
        "angle": pair_angles(diagnostics.covariance_after)[i, j],
        **{
            f"inside_{level:g}": observed[i, j]
            for level, observed in zip(shares.levels, shares.observed, strict=True)
        },
        "error": errors,
        "squares": squares,
        "distance": distance,
    }


def as_csv(table: dict[str, np.ndarray]) -> str:
    r"""Format columns as comma-separated text with a header line; NaN becomes an empty field.

    Parameters
    ----------
    table : dict of str to (n,) array
        Columns by name.

    Examples
    --------
    >>> as_csv({"pair": np.array([1, 2]), "share": np.array([0.25, np.nan])})
    'pair,share\n1,0.25\n2,\n'
    """
    columns = [
        values.astype(str) if values.dtype.kind == "i" else [f"{v:.6g}" if v == v else "" for v in values]
        for values in table.values()
    ]
    lines = [",".join(table), *map(",".join, zip(*columns, strict=True))]
    return "\n".join(lines) + "\n"
