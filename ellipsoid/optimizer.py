"""The optimiser of all training here: Adam with warm-up, cosine decay, gradient clipping and weight decay."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optax


def make_optimizer(
    learning_rate: float,
    n_steps: int,
    *,
    warmup: float = 0.05,
    weight_decay: float = 0.0,
    clip_norm: float | None = None,
) -> "optax.GradientTransformation":
    """Make Adam with a linear warm-up and a cosine decay to zero, and decoupled weight decay (AdamW).

    Parameters
    ----------
    learning_rate : float
        Highest learning rate, after the warm-up.
    n_steps : int
        Length of the schedule in steps, at least 1.
    warmup : float
        Share of the steps in which the learning rate rises, from 0 to below 1.
    weight_decay : float
        Rate of decoupled weight decay: each step multiplies kernels (arrays of two or more axes) by 1 minus
        this times the learning rate. Biases and scales do not decay.
    clip_norm : float, optional
        Norm to which longer gradients are scaled down; by default gradients are not clipped.

    Returns
    -------
    optax.GradientTransformation
        Optimiser, whose state has the same structure for every `n_steps` and so fits another schedule.

    Examples
    --------
    >>> import jax.numpy as jnp, optax
    >>> optimizer = make_optimizer(0.1, n_steps=100)
    >>> weights = {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}
    >>> updates, _ = optimizer.update(weights, optimizer.init(weights), weights)
    >>> float(optax.apply_updates(weights, updates)["bias"][0])  # a fifth of 0.1, in the first of five steps
    0.98...
    """
    import jax
    import optax

    n_warmup = round(warmup * n_steps)
    schedule = optax.schedules.warmup_cosine_decay_schedule(
        init_value=learning_rate / max(n_warmup, 1),
        peak_value=learning_rate,
        warmup_steps=n_warmup,
        decay_steps=max(n_steps, n_warmup + 1),
    )
    clip = optax.identity() if clip_norm is None else optax.clip_by_global_norm(clip_norm)

    def kernels(weights):
        return jax.tree.map(lambda leaf: leaf.ndim > 1, weights)

    return optax.chain(clip, optax.adamw(schedule, weight_decay=weight_decay, mask=kernels))
