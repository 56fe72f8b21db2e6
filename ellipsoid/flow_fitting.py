"""Fitting a flow: a PCA of the latents, then a velocity field learned by flow matching.

The network learns from pairs of a latent and a normal vector, at a random angle between them, to tell the
velocity. Its weights are averaged over the last steps. Some latents are held out, by which the best average
is chosen: a field that no held-out latent speaks for stays the identity, which is the PCA.

The smallest components are mostly noise, and of no account in images. So the network sees the whitened
latents times their standard deviations, and an error counts by the standard deviation of its component:
with few latents in many dimensions it learns the large components first.
"""

import functools
import math
import os
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import scipy
from jax.typing import ArrayLike

from ellipsoid.archive import Description, Entries, Format, digest, load_archive, save_archive
from ellipsoid.checks import check_count, check_rows
from ellipsoid.fitting import fit
from ellipsoid.flow import Flow
from ellipsoid.mixture_fitting import as_conditions, as_generator
from ellipsoid.optimizer import make_optimizer
from ellipsoid.options import DEFAULT_STEPS as DEFAULT_STEPS
from ellipsoid.progress import progress_bar
from ellipsoid.random import key as make_key
from ellipsoid.state import PCAState
from ellipsoid.velocity import END, Velocity, pull, push, untrained

#: Numbers of steps along the field to choose from.
N_STEPS = (8, 12, 16, 24, 32, 48, 64)

_BATCH_ROWS = 512
_CHUNK_STEPS = 100
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 0.1
_CLIP_NORM = 1.0
_AVERAGING = 0.999
_HELD_OUT = 0.05
# Pairs by which held-out latents are judged.
_JUDGED_PAIRS = 8192
# Training stops when its best is so many of all steps ago.
_PATIENCE = 0.25

# Seconds between two saves of a training.
_SAVE_SECONDS = 30
# Points by which the number of steps along the field is chosen, and how far they may come out apart and come
# back apart, in standard deviations.
_N_PROBES = 1024
_APART = 0.02
_RETURNED = 1e-3
# Numbers of random streams; those below are of batches and steps.
_JUDGE_STREAM = 2**31
_STEPS_STREAM = 2**31 + 1
_SPREAD_STREAM = 2**31 + 2
# Standard deviations of scores that are tried.
_SPREADS = (0.9, 1.0, 1.1, 1.2)

_TRAINING = Format("ellipsoid.FlowTraining", 2, "flow in training")


def fit_flow(
    latents: ArrayLike,
    n_components: int | float | None = None,
    *,
    labels: ArrayLike | Sequence[Hashable] | Mapping[str, ArrayLike] | None = None,
    key: jax.Array | None = None,
    steps: int = DEFAULT_STEPS,
    width: int | None = None,
    depth: int = 5,
    n_steps: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Flow:
    """Learn the shape of latents that no set of ellipsoids describes, as a reversible map to Gaussian scores.

    Parameters
    ----------
    latents : array, shape (n, D)
        Latent vectors of any real type, at least two. Rows of a memory map are read a batch at a time.
    n_components : int, float or None
        Number of components, as for :func:`ellipsoid.fit`.
    labels : array or sequence of n labels, or mapping of names to n booleans, optional
        Label of each row, or attributes, of which a row may have any number. The flow can then be drawn from
        for a label, for any of the attributes, or for all latents together.
    key : key, optional
        JAX random key of the start, the batches and the rows held out; None stands for ``ellipsoid.key(0)``.
        The same latents, settings and key give the same flow on one backend.
    steps : int
        Steps of training, at most. Training stops before where latents that are held out no longer gain.
    width, depth : int
        Size of the network: units in a layer, and residual blocks. The width is 192 by default, and 256 from
        129 components on.
    n_steps : int, optional
        Number of steps along the field when drawing, each two passes through the network. By default the
        fewest of `N_STEPS` whose way back ends where it began, and which lead where twice as many lead.
    resume : path, optional
        File that training is kept in every half minute and when it is interrupted. If it exists, training
        goes on from it; at the end it is removed.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    Flow
        Flow whose `loss` tells how far from Gaussian the latents are: near 1 for Gaussian ones.

    Raises
    ------
    TypeError
        If the latents do not hold real numbers, or another argument is of the wrong kind.
    ValueError
        If the latents are not a finite matrix of at least two different rows; if there is not one label for
        each of them, or some are missing; if another argument is out of range; or if `resume` names a
        file of another training.
    OSError
        If the file to resume from cannot be read or written.

    Warns
    -----
    UserWarning
        If `n_components` is None and components without variance are dropped.

    Examples
    --------
    >>> import numpy as np
    >>> import ellipsoid as el
    >>> angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 500)
    >>> ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    >>> flow = el.fit_flow(ring, steps=300, width=32, depth=1, n_steps=8)
    >>> bool(flow.loss < 0.9)
    True
    >>> el.sample(el.key(1), flow, 1000, law="normal", level=4.0).latents.shape
    (1000, 2)
    """
    steps, depth = check_count("steps", steps), check_count("depth", depth)
    n_steps = None if n_steps is None else check_count("n_steps", n_steps)
    width = None if width is None else check_count("width", width)
    rows = check_rows("latents", latents)
    names, conditions, exclusive = as_conditions(labels, len(rows))
    base = fit(latents, n_components)
    width = width or (192 if base.n_components <= 128 else 256)
    data = _Data.of(base, rows, conditions, make_key(0) if key is None else key)
    start = untrained(jr.fold_in(data.key, 0), base.n_components, len(names), width, depth)
    with progress_bar("fit flow", steps, enabled=progress, unit="steps") as advance:
        velocity, loss = _train(data, start, steps, None if resume is None else Path(resume), advance)
    condition = jnp.zeros(len(names), np.float32)
    n_steps = n_steps or _fewest_steps(velocity, condition, data.key)
    deviations = np.sqrt(np.asarray(base.explained_variance, np.float32))
    scale = jnp.asarray(deviations * _spread(velocity, condition, n_steps, data.key))
    if resume is not None:
        Path(resume).unlink(missing_ok=True)
    return Flow(base, velocity, scale, jnp.float32(loss), condition, n_steps, names, exclusive)


# --- what is read off a field ----------------------------------------------------------------------


def _spread(velocity: Velocity, condition: jax.Array, n_steps: int, key: jax.Array) -> float:
    """Find the standard deviation of the scores whose latents have the variance of those that were learned.

    A field that has not learned all sends normal scores to latents that vary less.
    """
    x0 = jr.normal(jr.fold_in(key, _SPREAD_STREAM), (_N_PROBES, velocity.entry.shape[0]))
    variances = [float(jnp.mean(jnp.square(push(velocity, condition, s * x0, n_steps)))) for s in _SPREADS]
    # The probes have not quite the variance 1 themselves.
    variances = np.array(variances) / float(jnp.mean(jnp.square(x0)))
    return float(np.interp(1.0, variances, _SPREADS)) if (np.diff(variances) > 0).all() else 1.0


def _fewest_steps(velocity: Velocity, condition: jax.Array, key: jax.Array) -> int:
    """Fewest of `N_STEPS` that are as good as twice as many."""
    # From the middle of the draws to the outermost of ten millions, where the field is steepest.
    k = velocity.entry.shape[0]
    x0 = jr.normal(jr.fold_in(key, _STEPS_STREAM), (_N_PROBES, k))
    radii = np.sqrt(2 * scipy.special.gammainccinv(k / 2, np.geomspace(0.5, 1e-7, _N_PROBES)))
    x0 *= radii[:, None].astype(np.float32) / jnp.linalg.norm(x0, axis=1, keepdims=True)

    def is_enough(n_steps: int) -> bool:
        x1 = push(velocity, condition, x0, n_steps)
        apart = jnp.sqrt(jnp.mean(jnp.square(x1 - push(velocity, condition, x0, 2 * n_steps))))
        returned = jnp.max(jnp.abs(pull(velocity, condition, x1, n_steps) - x0))
        return bool(apart < _APART) and bool(returned < _RETURNED)

    return next(filter(is_enough, N_STEPS), N_STEPS[-1])


# --- data ------------------------------------------------------------------------------------------


class _Data(NamedTuple):
    """Latents as the network sees them: whitened rows and their conditions, a batch at a time.

    Attributes
    ----------
    base : PCAState
    rows : array, shape (n, D)
    conditions : array, shape (n, C)
        Labels of each row, -1, 0 or 1.
    key : key
    train, held : arrays of int
        Numbers of the rows to train on, and of those held out.
    """

    base: PCAState
    rows: Any
    conditions: np.ndarray
    key: jax.Array
    train: np.ndarray
    held: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Standard deviations of the components over their root mean square, ``(K,)`` float32."""
        deviations = np.sqrt(np.asarray(self.base.explained_variance, np.float64))
        return (deviations / np.sqrt(np.mean(np.square(deviations)))).astype(np.float32)

    @classmethod
    def of(cls, base: PCAState, rows: Any, conditions: np.ndarray, key: jax.Array) -> "_Data":
        order = as_generator(key).permutation(len(rows))
        n_held = max(1, round(_HELD_OUT * len(rows)))
        return cls(base, rows, conditions, key, np.sort(order[n_held:]), np.sort(order[:n_held]))

    def take(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whitened rows ``(m, K)`` and their conditions ``(m, C)``, both float32."""
        scores = np.asarray(self.base.project(self.rows[index]), np.float32)
        deviations = np.sqrt(np.asarray(self.base.explained_variance, np.float32))
        return scores / deviations, self.conditions[index].astype(np.float32)

    def batches(self, chunk: int, n_steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Batches of one chunk of steps, ``(steps, rows, K)`` and ``(steps, rows, C)``."""
        size = n_steps, min(_BATCH_ROWS, 4 * len(self.train))
        rng = as_generator(jr.fold_in(self.key, chunk + 1))
        x, conditions = self.take(self.train[rng.integers(len(self.train), size=math.prod(size))])
        return x.reshape(*size, -1), conditions.reshape(*size, conditions.shape[-1])


# --- training --------------------------------------------------------------------------------------


class _Training(NamedTuple):
    """State of a training.

    Attributes
    ----------
    velocity, average, best : Velocity
        Weights, their average over the last steps, and the average of the least held-out loss so far.
    moments : pytree of arrays
        State of the optimiser.
    step, best_step : int
        Steps done, and done for the best average.
    best_loss : float
        Held-out loss of the best average.
    """

    velocity: Velocity
    average: Velocity
    best: Velocity
    moments: Any
    step: int = 0
    best_step: int = 0
    best_loss: float = 1.0

    @classmethod
    def begin(cls, velocity: Velocity, program: "_Program", loss: float) -> "_Training":
        return cls(velocity, velocity, velocity, program.begin(velocity), best_loss=float(loss))


def _squared_error(
    velocity: Velocity, sizes: Any, x0: Any, x1: Any, angle: Any, conditions: Any
) -> jax.Array:
    """Squared error of the velocity for each pair, ``(n,)``, each component weighted by its size.

    It is 1 for a velocity of zero. In training the network sees points times the sizes.
    """
    c, s = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    predicted = _of_whitened(velocity, sizes)(c * x0 + s * x1, velocity.embed(angle, conditions))
    return _weighted_square(predicted - (c * x1 - s * x0), sizes)


def _of_whitened(velocity: Velocity, sizes: Any) -> Velocity:
    """Velocity of whitened points, of one that sees them times the sizes."""
    return velocity._replace(entry=velocity.entry * sizes[:, None])


def _weighted_square(x: jax.Array, sizes: Any) -> jax.Array:
    return jnp.square(x) @ (sizes / sizes.sum())


def _noise(key: jax.Array, shape: tuple[int, int], conditions: jax.Array) -> tuple[jax.Array, ...]:
    """Draw normal vectors, angles that cover the arc evenly, and conditions of which some are hidden."""
    n = shape[0]
    x_key, angle_key, order_key, share_key, hide_key = jr.split(key, 5)
    angle = (jr.permutation(order_key, n) + jr.uniform(angle_key, (n,))) * np.float32(END / n)
    # Most rows show all of their labels, some none, and some a random share: every subset is learned.
    share = jnp.clip(4 * jr.uniform(share_key, (n, 1)) - np.float32(0.6), 0, 1)
    shown = jr.uniform(hide_key, conditions.shape) < share
    return jr.normal(x_key, shape), angle, jnp.where(shown, conditions, 0)


class _Program(NamedTuple):
    """Compiled parts of a training: the state of the optimiser, a chunk of steps, and the held-out losses."""

    begin: Callable[[Velocity], Any]
    advance: Callable[..., tuple[Velocity, Velocity, Any]]
    judge: Callable[..., jax.Array]


@functools.lru_cache
def _program(n_steps: int) -> _Program:
    import optax

    optimizer = make_optimizer(_LEARNING_RATE, n_steps, weight_decay=_WEIGHT_DECAY, clip_norm=_CLIP_NORM)

    def loss(velocity, sizes, x1, conditions, key):
        x0, angle, conditions = _noise(key, x1.shape, conditions)
        return jnp.mean(_squared_error(velocity, sizes, x0, x1, angle, conditions))

    @jax.jit  # keeps its arguments, which an interruption saves
    def advance(state, first_step, key, sizes, batches):
        def one(state, inputs):
            (velocity, average, moments), (step, *batch) = state, inputs
            gradient = jax.grad(loss)(velocity, sizes, *batch, jr.fold_in(key, step))
            update, moments = optimizer.update(gradient, moments, velocity)
            velocity = optax.apply_updates(velocity, update)
            # A running mean at first, then a window of the last thousand steps.
            kept = jnp.minimum(_AVERAGING, (1 + step) / (10 + step))
            average = jax.tree.map(lambda old, new: kept * old + (1 - kept) * new, average, velocity)
            return (velocity, average, moments), None

        steps = first_step + jnp.arange(len(batches[0]))
        return jax.lax.scan(one, state, (steps, *batches))[0]

    return _Program(jax.jit(optimizer.init), advance, jax.jit(_squared_error))


class _Judge(NamedTuple):
    """Pairs of held-out latents and noise, always the same ones.

    Attributes
    ----------
    pairs : tuple of arrays
        Arguments of `_squared_error` beside the weights.
    row : array, shape (m,)
        Number of the held-out latent in each pair.
    untrained : array, shape (m,)
        Squared errors of a velocity of zero.
    """

    pairs: tuple[jax.Array, ...]
    row: np.ndarray
    untrained: np.ndarray

    @classmethod
    def of(cls, data: _Data) -> "_Judge":
        held = data.held[:_JUDGED_PAIRS]
        row = np.resize(np.arange(len(held)), _JUDGED_PAIRS)
        x1, conditions = (np.asarray(array)[row] for array in data.take(held))
        x0, angle, conditions = _noise(jr.fold_in(data.key, _JUDGE_STREAM), x1.shape, jnp.asarray(conditions))
        apart = jnp.cos(angle)[:, None] * x1 - jnp.sin(angle)[:, None] * x0

        untrained = np.asarray(_weighted_square(apart, data.sizes), np.float64)
        return cls((jnp.asarray(data.sizes), x0, jnp.asarray(x1), angle, conditions), row, untrained)

    def losses(self, program: _Program, velocity: Velocity) -> np.ndarray:
        """Squared error of each pair."""
        return np.asarray(program.judge(velocity, *self.pairs), np.float64)

    def is_better(self, losses: np.ndarray) -> bool:
        """Whether a field is better than none by more than two standard errors over the latents."""
        gains = np.bincount(self.row, self.untrained - losses) / np.bincount(self.row)
        if len(gains) < 2:
            return False
        return bool(gains.mean() > 2 * gains.std(ddof=1) / math.sqrt(len(gains)))


def _train(
    data: _Data, velocity: Velocity, n_steps: int, resume: Path | None, advance: Callable[..., None]
) -> tuple[Velocity, float]:
    """Weights, for whitened points, of the least held-out loss, and that loss over that of zero velocity."""
    program, judge = _program(n_steps), _Judge.of(data)
    state = _Training.begin(velocity, program, judge.untrained.mean())
    if resume is not None and resume.exists():
        state = _load(resume, state, data, n_steps)
        advance(state.step)
    saved = time.monotonic()
    patience = max(round(_PATIENCE * n_steps), 2 * _CHUNK_STEPS)
    try:
        while state.step < min(n_steps, state.best_step + patience):
            state = _advanced(state, program, judge, data, n_steps)
            advance(_CHUNK_STEPS, note=f"held-out loss {state.best_loss / judge.untrained.mean():.3f}")
            if resume is not None and time.monotonic() > saved + _SAVE_SECONDS:
                _save(resume, state, data, n_steps)
                saved = time.monotonic()
    except KeyboardInterrupt:
        if resume is not None:
            _save(resume, state, data, n_steps)
        raise
    if state.step < n_steps:
        advance(n_steps - state.step, note=f"stopped at {state.step:,}: the held-out loss no longer falls")
    best = state.best if judge.is_better(judge.losses(program, state.best)) else velocity
    loss = judge.losses(program, best).mean() / judge.untrained.mean()
    return _of_whitened(best, data.sizes), loss


def _advanced(state: "_Training", program: _Program, judge: _Judge, data: _Data, n_steps: int) -> "_Training":
    """State after the next chunk of steps."""
    count = min(_CHUNK_STEPS, n_steps - state.step)
    batches = data.batches(state.step // _CHUNK_STEPS, count)
    weights = state.velocity, state.average, state.moments
    weights = program.advance(weights, state.step, data.key, data.sizes, batches)
    state = state._replace(**dict(zip(("velocity", "average", "moments"), weights, strict=True)))
    state = state._replace(step=state.step + count)
    loss = judge.losses(program, state.average).mean()
    if not loss < state.best_loss:  # NaN is no better
        return state
    return state._replace(best=state.average, best_loss=float(loss), best_step=state.step)


# --- interruption ----------------------------------------------------------------------------------


def _identity(data: _Data, state: _Training, n_steps: int) -> str:
    """Digest of all that a training depends on."""
    sample = data.take(data.held[:256])
    return digest(
        (data.base, sample, jr.key_data(data.key), n_steps, jax.tree.map(jnp.shape, state.velocity))
    )


def _save(path: Path, state: _Training, data: _Data, n_steps: int) -> None:
    arrays = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    save_archive(path, _TRAINING, arrays, {"identity": _identity(data, state, n_steps)})


def _load(path: Path, state: _Training, data: _Data, n_steps: int) -> _Training:
    """State that was saved, in place of the one of the beginning."""

    def check(arrays: Entries, description: Description) -> _Training:
        if description["identity"] != _identity(data, state, n_steps):
            raise ValueError("expected a training of these latents, settings and key; got another one")
        leaves, structure = jax.tree.flatten(state)
        saved = [arrays[str(i)] for i in range(len(leaves))]
        if [(np.shape(a), np.asarray(a).dtype) for a in leaves] != [(a.shape, a.dtype) for a in saved]:
            raise ValueError("expected arrays of other shapes or types; the file is damaged")
        # Numbers of steps and losses are Python's.
        kinds = (jnp.asarray if isinstance(leaf, jax.Array) else type(leaf) for leaf in leaves)
        return jax.tree.unflatten(structure, [kind(a) for kind, a in zip(kinds, saved, strict=True)])

    return load_archive(path, _TRAINING, check)
