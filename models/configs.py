"""Configurations of the autoencoder and of its training, without JAX and NumPy."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

Activation = Literal["relu", "leaky_relu", "elu", "gelu", "silu"]
Norm = Literal["none", "group"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class AutoencoderConfig:
    """Architecture of an autoencoder.

    Raises
    ------
    TypeError, ValueError
        If a value is not allowed, or `image_size` is below the total stride, ``2 ** len(filters)``.

    Examples
    --------
    >>> config = AutoencoderConfig(image_size=28, channels=1, filters=(8, 16), latent_dim=10)
    >>> config.image_shape
    (28, 28, 1)
    >>> config.layer_sizes
    (28, 14, 7)
    """

    image_size: int = 32
    """Height and width of the images in pixels. Each encoder layer halves them, rounding up; the decoder
    restores sizes that are odd."""
    channels: int = 3
    """Colour channels of the images: 1 for grey, 3 for colour."""
    filters: tuple[int, ...] = (16, 32, 64, 128)
    """Channels of the encoder's convolutions with stride 2, first to last. The decoder uses them in reverse
    order."""
    latent_dim: int = 64
    """Number of latent dimensions."""
    kernel_size: int = 3
    """Height and width of all convolution kernels in pixels, at least 2."""
    activation: Activation = "silu"
    """Activation function after every layer except the last of the encoder and of the decoder."""
    norm: Norm = "none"
    """Normalisation before each activation between convolutions: none, or group normalisation with 8 groups
    (fewer where 8 does not divide the channels)."""

    def __post_init__(self) -> None:
        from ellipsoid.checks import check_count

        for name, least in (("image_size", 1), ("channels", 1), ("latent_dim", 1), ("kernel_size", 2)):
            object.__setattr__(self, name, check_count(name, getattr(self, name), least))
        if not isinstance(self.filters, tuple | list) or not self.filters:
            raise ValueError(f"filters: expected a tuple of at least one integer; got {self.filters!r}")
        object.__setattr__(self, "filters", tuple(check_count("filters", width) for width in self.filters))
        for name, allowed in (("activation", get_args(Activation)), ("norm", get_args(Norm))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {', '.join(allowed)}; got {getattr(self, name)!r}")
        if self.image_size < 2 ** len(self.filters):
            raise ValueError(
                f"image_size: expected at least {2 ** len(self.filters)} pixels for {len(self.filters)} "
                f"layers of stride 2; got {self.image_size}; use larger images or fewer filters"
            )

    @classmethod
    def celeba(cls) -> Self:
        """64 x 64 colour images, 4 strided and 4 transposed convolutions, 256 latent dimensions."""
        return cls(image_size=64, channels=3, filters=(32, 64, 128, 256), latent_dim=256)

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as a dictionary of JSON values."""
        return dataclasses.asdict(self) | {"filters": list(self.filters)}

    @classmethod
    def from_json(cls, mapping: dict[str, Any]) -> Self:
        """Make a configuration from the dictionary of `to_json`.

        Raises
        ------
        ValueError
            If a name is unknown, or a value is not allowed.
        """
        try:
            return cls(**mapping)
        except TypeError as error:
            raise ValueError(f"autoencoder configuration: {error}") from None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of one image."""
        return (self.image_size, self.image_size, self.channels)

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """Height and width before and after each strided layer, ``len(filters) + 1`` numbers."""
        sizes = [self.image_size]
        for _ in self.filters:
            sizes.append(-(-sizes[-1] // 2))
        return tuple(sizes)


@dataclass(frozen=True)
class TrainConfig:
    """Options of the training: Adam, a linear warm-up, a cosine decay to zero, and the mean squared error.

    The original study used none of the options that are off by default.
    """

    epochs: int = 30
    """Number of passes over the training images."""
    steps: int | None = None
    """Number of training steps (batches), in place of --epochs."""
    batch_size: int = 128
    """Number of images in a batch, over all devices."""
    learning_rate: float = 3e-3
    """Peak learning rate, reached after the warm-up."""
    warmup: float = 0.05
    """Share of the steps over which the learning rate rises from zero."""
    clip_norm: float | None = None
    """Maximum norm of the gradient; longer gradients are scaled down to it. By default gradients are not
    clipped."""
    weight_decay: float = 0.0
    """Weight decay of the kernels, not the biases, as in AdamW: each step multiplies them by 1 - learning
    rate x weight decay."""
    ema_decay: float | None = None
    """Decay of an exponential moving average of the weights, such as 0.999. The average is then validated,
    saved and loaded in place of the last weights. By default there is no average."""
    latent_noise: float = 0.0
    """Standard deviation of Gaussian noise that is added to the latents before they are decoded."""
    latent_l2: float = 0.0
    """Weight of the mean squared latent in the loss (Ghosh et al. 2020)."""
    perceptual: float = 0.0
    """Weight in the loss of the difference between images and their reconstructions as EfficientNet-Lite0
    sees them, such as 0.01. Edges become sharper, the squared error grows, and a step takes about three times
    as long. The option needs the extra "judges". Judge the images in other features than efficientnet
    afterwards."""
    horizontal_flip: bool | None = None
    """Random horizontal flips of the images, each with probability 1/2. By default the command line flips
    known sets of faces, CelebA for example, and nothing else."""
    max_shift: int = 0
    """Maximum random shift of an image in pixels, in each direction. Border pixels are repeated."""
    precision: Precision | None = None
    """Precision of the layers. Weights and loss are always float32. By default bfloat16 on GPU and TPU,
    float32 on CPU."""
    validation_fraction: float = 0.05
    """Share of the images that is kept back to choose the best epoch."""
    seed: int = 0
    """Random seed of the initial weights, the split, the order of the images, and the augmentation."""

    def check(self) -> None:
        """Check all options.

        Raises
        ------
        TypeError
            If a value has the wrong type.
        ValueError
            If a value is out of range, or `perceptual` is on and its network's file of weights is damaged.
        ImportError
            If `perceptual` is on and the package with its network is not installed.
        """
        from ellipsoid.checks import check_count, check_number, check_positive

        for name, least in (("epochs", 1), ("batch_size", 1), ("max_shift", 0), ("seed", 0)):
            check_count(name, getattr(self, name), least)
        check_positive("learning_rate", self.learning_rate)
        if self.steps is not None:
            check_count("steps", self.steps)
        if self.clip_norm is not None:
            check_positive("clip_norm", self.clip_norm)
        for name in ("weight_decay", "latent_noise", "latent_l2", "perceptual"):
            check_number(name, getattr(self, name), 0)
        for name in ("warmup", "validation_fraction", "ema_decay"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 0, below=1)
        if self.precision not in (None, "float32", "bfloat16"):
            raise ValueError(f"precision: expected float32, bfloat16 or None; got {self.precision!r}")
        if self.perceptual:
            from ellipsoid.models.features.packaged import EFFICIENTNET

            EFFICIENTNET.find("perceptual")
