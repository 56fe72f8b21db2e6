r"""Fitting a flow: a PCA of the latents, then a velocity field learned by flow matching.

The network learns the velocity from pairs of a latent and a normal vector, at a random angle between them.
Its weights are averaged over the last steps. The best average is chosen by latents that are held out. If no
field is better than none on them, the flow stays the identity, which is the PCA.

The smallest components are mostly noise and hardly show in images. So the network sees the whitened latents
times their standard deviations, and an error counts by the standard deviation of its component. With few
latents in many dimensions, the network then learns the large components first.

Each latent is paired with a normal vector that lies near it (Tong et al., "Improving and generalizing
flow-based generative models with minibatch optimal transport", 2023). The path between the two is short, and
there is less to learn. In component k the two then have a correlation, the cosine of an opening
:math:`\omega_k`. At the fraction f of the path, the point

.. math:: w_k = \frac{\sin((1 - f)\,\omega_k)\, x_{0k} + \sin(f \omega_k)\, x_{1k}}{\sin \omega_k},

has variance 1, and the velocity of Gaussian latents is zero everywhere. Rows with labels are not paired in
this way: the normal vectors near one label would not be normal. Their opening is a right angle.
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
from ellipsoid.blocks import row_slices
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
# Number of rows that are paired with as many normal vectors at a time. Groups of 512 give hardly nearer
# pairs, and take ten times as long.
_PAIRED_ROWS = 128
# Largest correlation of pairs: it keeps the opening away from 0.
_MOST_CORRELATION = 0.98
_CHUNK_STEPS = 100
_LEARNING_RATE = 2e-3
_WEIGHT_DECAY = 0.1
_CLIP_NORM = 1.0
_AVERAGING = 0.999
_HELD_OUT = 0.05
# Number of pairs that judge a field on held-out latents.
_JUDGED_PAIRS = 8192
# Training stops when the best average is older than this share of all steps.
_PATIENCE = 0.25

# Seconds between two saves of a training.
_SAVE_SECONDS = 30
# Number of points that choose the number of steps along the field, their largest distance from points of
# twice as many steps, and their largest distance from themselves after the way back, in standard deviations.
_N_PROBES = 1024
_APART = 0.02
_RETURNED = 1e-3
# Numbers of random streams; smaller ones are for batches and steps.
_JUDGE_STREAM = 2**31
_STEPS_STREAM = 2**31 + 1
_SPREAD_STREAM = 2**31 + 2
_PAIRS_STREAM = 2**31 + 3
# Standard deviations of scores to try.
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
        Label of each row; or attributes, of which a row may have any number. The flow can then draw for a
        label, for any of the attributes, or for all latents together.
    key : key, optional
        JAX random key of the start, the batches and the rows held out; None stands for ``ellipsoid.key(0)``.
        The same latents, settings and key give the same flow on one backend.
    steps : int
        Largest number of training steps. Training stops earlier when held-out latents no longer gain.
    width, depth : int
        Size of the network: units in a layer, and residual blocks. The width is 192 by default, and 256 from
        129 components on.
    n_steps : int, optional
        Number of steps along the field when drawing; each takes two passes through the network. The default
        is the smallest of `N_STEPS` whose way back ends where it began, and whose draws agree with those of
        twice as many steps.
    resume : path, optional
        File that keeps the training, every half minute and at an interruption. If it exists, training resumes
        from it. It is removed at the end.
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
    scale = jnp.asarray(deviations * _spread(velocity, condition, n_steps, data))
    if resume is not None:
        Path(resume).unlink(missing_ok=True)
    return Flow(base, velocity, scale, jnp.float32(loss), condition, n_steps, names, exclusive)


# --- properties of a field -------------------------------------------------------------------------


def _spread(velocity: Velocity, condition: jax.Array, n_steps: int, data: "_Data") -> float:
    """Find the standard deviation of scores at which draws vary as the latents do.

    A field that has not learned everything sends normal scores to latents that vary less.
    """
    x0 = jr.normal(jr.fold_in(data.key, _SPREAD_STREAM), (_N_PROBES, velocity.entry.shape[0]))

    def variance(x: jax.Array) -> float:
        return float(jnp.sum(jnp.square(x * data.frame.sizes[None])))

    variances = [variance(push(velocity, condition, s * x0, n_steps)) for s in _SPREADS]
    # The variance of the probes is not quite 1.
    variances = np.array(variances) / variance(x0)
    return float(np.interp(1.0, variances, _SPREADS)) if (np.diff(variances) > 0).all() else 1.0


def _fewest_steps(velocity: Velocity, condition: jax.Array, key: jax.Array) -> int:
    """Find the fewest of `N_STEPS` that are as good as twice as many."""
    # The points range from the middle of the draws to the outermost of ten million, where the field is
    # steepest.
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


class _Frame(NamedTuple):
    """Facts about each component that are known before training, all float32.

    Attributes
    ----------
    sizes : array, shape (K,)
        Standard deviations over their root mean square.
    openings : array, shape (K,)
        Angles whose cosines are the correlations between latents and the normal vectors paired with them.
    """

    sizes: Any
    openings: Any


class _Data(NamedTuple):
    """Latents in the form that the network sees: whitened rows and their conditions, a batch at a time.

    Attributes
    ----------
    base : PCAState
    rows : array, shape (n, D)
    conditions : array, shape (n, C)
        Labels of each row, -1, 0 or 1.
    key : key
    train, held : arrays of int
        Numbers of the rows to train on, and of those held out.
    frame : _Frame
    """

    base: PCAState
    rows: Any
    conditions: np.ndarray
    key: jax.Array
    train: np.ndarray
    held: np.ndarray
    frame: _Frame

    @classmethod
    def of(cls, base: PCAState, rows: Any, conditions: np.ndarray, key: jax.Array) -> "_Data":
        order = as_generator(key).permutation(len(rows))
        n_held = max(1, round(_HELD_OUT * len(rows)))
        deviations = np.sqrt(np.asarray(base.explained_variance, np.float64))
        sizes = (deviations / np.sqrt(np.mean(np.square(deviations)))).astype(np.float32)
        frame = _Frame(sizes, np.full_like(sizes, END))
        held, train = np.sort(order[:n_held]), np.sort(order[n_held:])
        data = cls(base, rows, conditions, key, train, held, frame)
        return data if conditions.shape[1] else data._replace(frame=frame._replace(openings=data._openings()))

    def _openings(self) -> np.ndarray:
        rng = as_generator(jr.fold_in(self.key, _PAIRS_STREAM))
        x0, x1, _ = self.pairs(self.train[rng.integers(len(self.train), size=_JUDGED_PAIRS)], rng)
        lengths = np.linalg.norm(x0, axis=0) * np.linalg.norm(x1, axis=0)
        correlations = np.sum(x0 * x1, axis=0) / np.maximum(lengths, np.finfo(np.float32).tiny)
        return np.arccos(np.clip(correlations, 0, _MOST_CORRELATION))

    def take(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give whitened rows ``(m, K)`` and their conditions ``(m, C)``, both float32."""
        scores = np.asarray(self.base.project(self.rows[index]), np.float32)
        deviations = np.sqrt(np.asarray(self.base.explained_variance, np.float32))
        return scores / deviations, self.conditions[index].astype(np.float32)

    def pairs(self, index: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Give normal vectors ``(m, K)``, the whitened rows paired with them, and the rows' conditions.

        Rows without labels are paired with near vectors: within each group, no other pairs of them have a
        smaller sum of squared distances in latent units.
        """
        x1, conditions = self.take(index)
        x0 = rng.standard_normal(x1.shape, np.float32)
        if not conditions.shape[1]:
            weighted = x1 * np.square(self.frame.sizes)
            for rows in row_slices(len(x1), _PAIRED_ROWS):
                # NumPy's product of matrices this small wakes threads that then wait at full load.
                products = np.asarray(jnp.matmul(weighted[rows], x0[rows].T))
                x0[rows] = x0[rows][scipy.optimize.linear_sum_assignment(products, maximize=True)[1]]
        return x0, x1, conditions

    def batches(self, chunk: int, n_steps: int) -> tuple[np.ndarray, ...]:
        """Give a chunk's pairs, ``(steps, rows, K)`` twice, and conditions ``(steps, rows, C)``."""
        size = n_steps, min(_BATCH_ROWS, 4 * len(self.train))
        rng = as_generator(jr.fold_in(self.key, chunk + 1))
        index = self.train[rng.integers(len(self.train), size=math.prod(size))]
        return tuple(array.reshape(*size, array.shape[-1]) for array in self.pairs(index, rng))


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
    velocity: Velocity, frame: _Frame, x0: Any, x1: Any, conditions: Any, angle: Any
) -> jax.Array:
    """Give the squared error of the velocity for each pair, ``(n,)``, weighted by the sizes of components.

    The network is trained on points times the sizes.
    """
    w, rate = _path(frame, x0, x1, angle)
    predicted = _of_whitened(velocity, frame.sizes)(w, velocity.embed(angle, conditions))
    return _weighted_square(predicted - rate, frame.sizes)


@jax.jit
def _path(frame: _Frame, x0: Any, x1: Any, angle: Any) -> tuple[jax.Array, jax.Array]:
    """Give points on the paths of pairs at angles ``(n,)``, and their velocities."""
    openings = jnp.asarray(frame.openings)[None]
    gone = angle[:, None] * (openings / np.float32(END))
    left = openings - gone
    w = (jnp.sin(left) * x0 + jnp.sin(gone) * x1) / jnp.sin(openings)
    speed = openings / (np.float32(END) * jnp.sin(openings))
    return w, speed * (jnp.cos(gone) * x1 - jnp.cos(left) * x0)


def _of_whitened(velocity: Velocity, sizes: Any) -> Velocity:
    """Turn a velocity that takes points times the sizes into one that takes whitened points."""
    return velocity._replace(entry=velocity.entry * sizes[:, None])


def _weighted_square(x: jax.Array, sizes: Any) -> jax.Array:
    return jnp.square(x) @ (sizes / sizes.sum())


@jax.jit
def _angles_and_labels(key: jax.Array, conditions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Draw angles that cover the arc evenly, and hide some of the conditions."""
    n = len(conditions)
    angle_key, order_key, share_key, hide_key = jr.split(key, 4)
    angle = (jr.permutation(order_key, n) + jr.uniform(angle_key, (n,))) * np.float32(END / n)
    # Most rows show all of their labels, some show none, and some show a random share: the network learns
    # every subset.
    share = jnp.clip(4 * jr.uniform(share_key, (n, 1)) - np.float32(0.6), 0, 1)
    shown = jr.uniform(hide_key, conditions.shape) < share
    return angle, jnp.where(shown, conditions, 0)


class _Program(NamedTuple):
    """Compiled parts of a training: the state of the optimiser, a chunk of steps, and the held-out losses."""

    begin: Callable[[Velocity], Any]
    advance: Callable[..., tuple[Velocity, Velocity, Any]]
    judge: Callable[..., jax.Array]


@functools.lru_cache
def _program(n_steps: int) -> _Program:
    import optax

    optimizer = make_optimizer(_LEARNING_RATE, n_steps, weight_decay=_WEIGHT_DECAY, clip_norm=_CLIP_NORM)

    def loss(velocity, frame, x0, x1, conditions, key):
        angle, conditions = _angles_and_labels(key, conditions)
        return jnp.mean(_squared_error(velocity, frame, x0, x1, conditions, angle))

    @jax.jit  # keeps its arguments, which an interruption saves
    def advance(state, first_step, key, frame, batches):
        def one(state, inputs):
            (velocity, average, moments), (step, *batch) = state, inputs
            gradient = jax.grad(loss)(velocity, frame, *batch, jr.fold_in(key, step))
            update, moments = optimizer.update(gradient, moments, velocity)
            velocity = optax.apply_updates(velocity, update)
            # The average runs over all steps at first, then over the last thousand.
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
    pairs : tuple
        Arguments of `_squared_error` beside the weights.
    row : array, shape (m,)
        Number of the held-out latent in each pair.
    untrained : array, shape (m,)
        Squared errors of a velocity of zero.
    """

    pairs: tuple[Any, ...]
    row: np.ndarray
    untrained: np.ndarray

    @classmethod
    def of(cls, data: _Data) -> "_Judge":
        held = data.held[:_JUDGED_PAIRS]
        key, rng = jr.fold_in(data.key, _JUDGE_STREAM), as_generator(jr.fold_in(data.key, _JUDGE_STREAM))
        row = rng.permutation(np.resize(np.arange(len(held)), _JUDGED_PAIRS))
        x0, x1, conditions = map(jnp.asarray, data.pairs(held[row], rng))
        angle, conditions = _angles_and_labels(key, conditions)
        rate = _path(data.frame, x0, x1, angle)[1]
        untrained = np.asarray(_weighted_square(rate, data.frame.sizes), np.float64)
        return cls((data.frame, x0, x1, conditions, angle), row, untrained)

    def losses(self, program: _Program, velocity: Velocity) -> np.ndarray:
        """Give the squared error of each pair."""
        return np.asarray(program.judge(velocity, *self.pairs), np.float64)

    def is_better(self, losses: np.ndarray) -> bool:
        """Tell whether a field beats none by more than two standard errors over the latents."""
        gains = np.bincount(self.row, self.untrained - losses) / np.bincount(self.row)
        if len(gains) < 2:
            return False
        return bool(gains.mean() > 2 * gains.std(ddof=1) / math.sqrt(len(gains)))


def _train(
    data: _Data, velocity: Velocity, n_steps: int, resume: Path | None, advance: Callable[..., None]
) -> tuple[Velocity, float]:
    """Find the weights of the least held-out loss, and give that loss over the loss of zero velocity."""
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
    return _of_whitened(best, data.frame.sizes), loss


def _advanced(state: "_Training", program: _Program, judge: _Judge, data: _Data, n_steps: int) -> "_Training":
    """Give the state after the next chunk of steps."""
    count = min(_CHUNK_STEPS, n_steps - state.step)
    batches = data.batches(state.step // _CHUNK_STEPS, count)
    weights = state.velocity, state.average, state.moments
    weights = program.advance(weights, state.step, data.key, data.frame, batches)
    state = state._replace(**dict(zip(("velocity", "average", "moments"), weights, strict=True)))
    state = state._replace(step=state.step + count)
    loss = judge.losses(program, state.average).mean()
    if not loss < state.best_loss:  # NaN is no better
        return state
    return state._replace(best=state.average, best_loss=float(loss), best_step=state.step)


# --- interruption ----------------------------------------------------------------------------------


def _identity(data: _Data, state: _Training, n_steps: int) -> str:
    """Give a digest of everything that a training depends on."""
    sample = data.take(data.held[:256])
    return digest(
        (data.base, sample, jr.key_data(data.key), n_steps, jax.tree.map(jnp.shape, state.velocity))
    )


def _save(path: Path, state: _Training, data: _Data, n_steps: int) -> None:
    arrays = {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))}
    save_archive(path, _TRAINING, arrays, {"identity": _identity(data, state, n_steps)})


def _load(path: Path, state: _Training, data: _Data, n_steps: int) -> _Training:
    """Read the state that was saved, in place of the initial one."""

    def check(arrays: Entries, description: Description) -> _Training:
        if description["identity"] != _identity(data, state, n_steps):
            raise ValueError("expected a training of these latents, settings and key; got another one")
        leaves, structure = jax.tree.flatten(state)
        saved = [arrays[str(i)] for i in range(len(leaves))]
        if [(np.shape(a), np.asarray(a).dtype) for a in leaves] != [(a.shape, a.dtype) for a in saved]:
            raise ValueError("expected arrays of other shapes or types; the file is damaged")
        # Numbers of steps and losses are Python numbers.
        kinds = (jnp.asarray if isinstance(leaf, jax.Array) else type(leaf) for leaf in leaves)
        return jax.tree.unflatten(structure, [kind(a) for kind, a in zip(kinds, saved, strict=True)])

    return load_archive(path, _TRAINING, check)
