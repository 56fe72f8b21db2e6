"""A learned reversible map between latents and coordinates in which they are a centred Gaussian."""

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from ellipsoid.archive import Description, Entries, Format, load_archive, save_archive
from ellipsoid.cells import preformatted, table_of_rows
from ellipsoid.labels import Label, check_names, label_index
from ellipsoid.state import FIELDS, PCAState, check_fields, is_one_state, with_last_axis
from ellipsoid.trees import has_values, repr_of_names, repr_of_shapes, same_values
from ellipsoid.velocity import Velocity, pull, push, shapes_of_weights

FORMAT = Format("ellipsoid.Flow", 1, "flow")


@jax.tree_util.register_dataclass
@dataclass(frozen=True, eq=False, repr=False)
class Flow:
    """Latents in curved coordinates: a PCA, and a velocity field from a normal distribution to the latents.

    :meth:`project` whitens latents by the PCA and follows the field backwards. :meth:`reconstruct` follows it
    forwards, and inverts the first up to rounding, within the subspace of the K components. Along the axes of
    the scores, the latents are nearly a centred Gaussian. So every distribution, region and level of one
    ellipsoid applies to these scores. A flow that has not learned anything is the PCA.

    A flow is a frozen pytree. :func:`ellipsoid.fit_flow` and :meth:`load` make it and check it; the
    constructor does not check. ``==`` compares as for :class:`PCAState`.

    Attributes
    ----------
    base : PCAState
        Principal axes of the latents, by which they are whitened.
    velocity : Velocity
        Weights of the network.
    scale : Array, shape (K,)
        Gaussian-equivalent standard deviation of each score, in latent units.
    loss : Array, shape ()
        Mean squared error of the velocity on held-out latents, with each component weighted by its standard
        deviation, over the same error of the PCA. It is 1 for Gaussian latents, and less for others.
    condition : Array, shape (C,)
        Label to draw: all zero for any.
    n_steps : int
        Number of steps along the field. Each takes two passes through the network.
    names : tuple of C str
        Labels, empty for a flow without them.
    exclusive : bool
        Whether each row has just one label, as a class. Otherwise rows have any number, as attributes.
    """

    base: PCAState
    velocity: Velocity
    scale: jax.Array
    loss: jax.Array
    condition: jax.Array
    n_steps: int = field(default=16, metadata={"static": True})
    names: tuple[str, ...] = field(default=(), metadata={"static": True})
    exclusive: bool = field(default=True, metadata={"static": True})

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and same_values(self, other)

    def __repr__(self) -> str:
        if not self._is_single():
            return repr_of_shapes(self)
        depth, width = self.velocity.hidden.shape[:2]
        lines = [
            f"Flow: {self.n_components} of {self.n_features} components, "
            f"fitted to {int(self.base.n_samples):,} latents ({self.base.mean.dtype})",
            f"explained variance: {float(np.sum(self.base.explained_variance_ratio)):.1%} of the total",
            f"field: {depth} blocks of {width} units, {self.n_steps} steps",
            f"held-out loss: {float(self.loss):.3f} of that of one Gaussian",
        ]
        if self.names:
            lines.append(f"labels: {repr_of_names(self.names)}")
        return "\n  ".join(lines)

    def _repr_html_(self) -> str:
        if not self._is_single():
            return preformatted(repr(self))
        depth, width = self.velocity.hidden.shape[:2]
        rows = [
            ("components", f"{self.n_components} of {self.n_features}"),
            ("latents", f"{int(self.base.n_samples):,}"),
            ("explained variance", f"{float(np.sum(self.base.explained_variance_ratio)):.1%}"),
            ("field", f"{depth} blocks of {width} units, {self.n_steps} steps"),
            ("held-out loss", f"{float(self.loss):.3f} of that of one Gaussian"),
        ]
        if self.names:
            rows.append(("labels", repr_of_names(self.names)))
        return table_of_rows("Flow", rows)

    def _is_single(self) -> bool:
        """Tell whether the fields hold the values of one flow."""
        return bool(has_values((self.velocity, self.scale, self.loss)) and is_one_state(self.base))

    @property
    def n_components(self) -> int:
        """Number of components K."""
        return self.base.n_components

    @property
    def n_features(self) -> int:
        """Number of latent dimensions D."""
        return self.base.n_features

    @property
    def _deviations(self) -> jax.Array:
        """Standard deviations that whiten the scores of the PCA, ``(K,)`` float32."""
        return jnp.sqrt(self.base.explained_variance).astype(np.float32)

    def project(self, z: ArrayLike) -> jax.Array:
        """Whiten latents by the PCA, carry them backwards along the field, and scale them to latent units.

        Parameters
        ----------
        z : array, shape (..., D)
            Latents of any real type.

        Returns
        -------
        Array, shape (..., K)
            Scores in latent units, float32. NaN for latents that are not finite.

        Raises
        ------
        ValueError
            If the last axis of `z` does not have D entries, or some are masked.
        RuntimeError
            In a process that was forked after JAX had been used.
        """
        scores = self.base.project(z).astype(np.float32)
        deviations = jnp.broadcast_to(self._deviations, scores.shape)
        return pull(self.velocity, self.condition, scores / deviations, self.n_steps) * deviations

    def reconstruct(self, y: ArrayLike) -> jax.Array:
        """Carry scores forwards along the field, and from the principal axes back to latents.

        Parameters
        ----------
        y : array, shape (..., K)
            Scores in latent units.

        Returns
        -------
        Array, shape (..., D)
            Latents, in the precision of the PCA.

        Raises
        ------
        ValueError
            If the last axis of `y` does not have K entries, or some are masked.
        RuntimeError
            In a process that was forked after JAX had been used.
        """
        return self.base.reconstruct(self.bend(y))

    def bend(self, y: ArrayLike) -> jax.Array:
        """Give scores on the principal axes, ``(..., K)``, for scores of the flow, ``(..., K)``.

        Raises
        ------
        ValueError
            If the last axis of `y` does not have K entries, or some are masked.
        RuntimeError
            In a process that was forked after JAX had been used.
        """
        y = with_last_axis("y", y, self.n_components, np.float32)
        deviations = jnp.broadcast_to(self._deviations, y.shape)
        return push(self.velocity, self.condition, y / deviations, self.n_steps) * deviations

    def select(self, label: Label) -> Self:
        """Give the flow of the latents that have a label.

        Parameters
        ----------
        label : str, number, or mapping of str to bool
            Label; or attributes, each of which must be as said: ``{"Smiling": True, "Male": False}``.
            Attributes that are not named may be any.

        Raises
        ------
        TypeError
            If `label` is of another kind.
        ValueError
            For an unknown label, or for several labels where each row has just one.
        """
        if isinstance(label, list | tuple | np.ndarray):
            raise TypeError(f"label: expected one label of a flow; got {label!r}; draw from each in turn")
        wanted = label if isinstance(label, Mapping) else {label: True}
        condition, owner = np.zeros(len(self.names), np.float32), "a flow that was fitted with labels"
        for name, value in wanted.items():
            if not isinstance(value, bool | np.bool_):
                raise TypeError(f"label: expected True or False for {name!r}; got {value!r}")
            condition[label_index(name, self.names, owner)] = 1 if value else -1
        if self.exclusive and (len(wanted) != 1 or condition.min() < 0):
            raise ValueError(f"label: expected one of {', '.join(self.names)}; got {label!r}")
        return dataclasses.replace(self, condition=jnp.asarray(condition))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the flow to `path`, as :meth:`PCAState.save` does.

        Raises
        ------
        OSError
            If the file cannot be written.
        ValueError
            If the fields do not make a valid flow.
        """
        arrays = {f"base.{name}": np.asarray(getattr(self.base, name)) for name in FIELDS}
        arrays |= {name: np.asarray(getattr(self, name)) for name in ("scale", "loss", "condition")}
        arrays |= {f"velocity.{name}": np.asarray(value) for name, value in self.velocity._asdict().items()}
        arrays["names"] = np.array(self.names, str)
        description = {"n_steps": self.n_steps, "exclusive": self.exclusive}
        _check_arrays(arrays, description)
        save_archive(path, FORMAT, arrays, description)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read a flow that :meth:`save` wrote. Nothing is ever unpickled.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is damaged, is not a flow, or is of another format version.
        """
        return load_archive(path, FORMAT, cls._from_entries)

    @classmethod
    def _from_entries(cls, arrays: Entries, description: Description) -> Self:
        _check_arrays(arrays, description)
        return cls(
            PCAState.from_fields({name: arrays[f"base.{name}"] for name in FIELDS}),
            Velocity(*(jnp.asarray(arrays[f"velocity.{name}"]) for name in Velocity._fields)),
            *(jnp.asarray(arrays[name]) for name in ("scale", "loss", "condition")),
            n_steps=description["n_steps"],
            names=tuple(arrays["names"].tolist()),
            exclusive=description["exclusive"],
        )


def _check_arrays(arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` if arrays by name and the values beside them do not make one valid flow."""
    base = {name: arrays[f"base.{name}"] for name in FIELDS}
    check_fields(base)
    names = arrays["names"]
    check_names(names, "C")
    for name, kind, least in (("n_steps", int, 1), ("exclusive", bool, 0)):
        if type(description[name]) is not kind or description[name] < least:
            raise ValueError(
                f"{name}: expected {kind.__name__} of at least {least}; got {description[name]!r}"
            )
    weights = shapes_of_weights(
        k=base["components"].shape[0],
        n_conditions=len(names),
        width=np.shape(arrays["velocity.entry"])[-1],
        depth=len(np.atleast_1d(arrays["velocity.hidden"])),
    )
    shapes = {f"velocity.{name}": shape for name, shape in weights.items()}
    shapes |= {"scale": base["scale"].shape, "loss": (), "condition": names.shape}
    for name, shape in shapes.items():
        value = arrays[name]
        if value.shape != shape or value.dtype != np.float32:
            raise ValueError(f"{name}: expected float32 of shape {shape}; got {value.dtype}{value.shape}")
        if not np.isfinite(value).all():
            raise ValueError(f"{name}: expected finite values; got NaN or infinity")
    for name in ("scale", "base.explained_variance"):
        if not (arrays[name] > 0).all():
            raise ValueError(f"{name}: expected positive values; got {arrays[name].min()}")
