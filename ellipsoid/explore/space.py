"""The space of the page: shapes, a decoder, an encoder, and the latents around a point."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

import ellipsoid as el
from ellipsoid.checks import check_choice, check_matrix
from ellipsoid.directions import Direction
from ellipsoid.mixture import Mixture
from ellipsoid.pixels import PIXEL_RANGE, ImageDecoder
from ellipsoid.regions import as_region
from ellipsoid.settings import DrawSettings
from ellipsoid.shapes import Shape, check_shape
from ellipsoid.state import PCAState

#: Number of rows that are decoded at once. Programs are compiled for this number and for a single picture.
BATCH = 8
#: Largest size of an uploaded picture, in pixels.
MAX_PIXELS = 50_000_000

# Number of training latents that represent all in the gauge and on the map.
_N_SHOWN = 2048
# Number of rows for the typical distance between neighbours.
_N_TYPICAL = 256
# Reach of the search along an axis to both sides, in standard deviations, and its number of points.
_SPAN, _N_ON_SPAN = 8.0, 65
# Number of points of a curved path. It includes every hundredth and every eighth of the path.
_N_ON_PATH = 201
# Upper limit of scores. Its square is still a float32 number.
_LARGEST = 1e18


@jax.jit
def _project(shape: Any, latents: jax.Array) -> jax.Array:
    return shape.project(latents)


@jax.jit
def _reconstruct(shape: Any, scores: jax.Array) -> jax.Array:
    return shape.reconstruct(scores)


@dataclass(frozen=True)
class Axis:
    """Axis along which a point can be moved.

    Attributes
    ----------
    id : str
        Identifier in the moves of :meth:`Space.place`.
    name : str
        Name on the page.
    share : float or None
        Share of the variance of the latents; None if it is unknown.
    at : float
        Position of the point along the axis, in standard deviations from the centre.
    """

    id: str
    name: str
    share: float | None
    at: float


@dataclass(frozen=True)
class Place:
    """Point in the latent space, with its position in the region.

    Attributes
    ----------
    latents : ndarray, shape (D,)
        Latents of the point.
    gauge : float
        Gauge in the region. It is at most 1 inside.
    kept : float
        Share of the distance from the centre that was kept. It is below 1 if the point was pulled inside.
    plane : tuple of two float
        Scores on the first two components, in standard deviations.
    """

    latents: np.ndarray
    gauge: float
    kept: float
    plane: tuple[float, float]


@dataclass(frozen=True)
class Neighbours:
    """Training images nearest to a point.

    Attributes
    ----------
    rows : ndarray, shape (n,)
        Numbers of the images, nearest first.
    distances : ndarray, shape (n,)
        Distances between the latents.
    ratio : float
        Ratio of the distance to the nearest one to the median distance from an image to its nearest training
        image.
    """

    rows: np.ndarray
    distances: np.ndarray
    ratio: float


class Space:
    """Shapes of latents, with decoder, encoder and training images.

    Parameters
    ----------
    shapes : mapping of str to shape
        One or more shapes of the same latents, by name.
    name : str
        Name of the space.
    decode : callable, optional
        Function from float32 latents (n, D) to images (n, H, W, C), uint8 or floats in `pixel_range`.
    encode : callable, optional
        Function from uint8 images (n, H, W, C) to latents. It is used for square images with 1 or 3 channels.
    latents : array, shape (n, D), optional
        Latents of the training images.
    unseen : array, shape (m, D), optional
        Latents of images that were not trained on.
    images : callable, optional
        Function that returns the training images, (n, H, W, C) uint8, in the order of the latents. It is
        called when they are first needed.
    directions : mapping of str to Direction, optional
        Directions of attributes, by name.
    settings : DrawSettings, optional
        Initial settings of the draws.
    default : str, optional
        Name of the initial shape. The default is the first one.
    pixel_range : tuple of two float
        Black and white of decoded images that are floats.
    folder : str, optional
        Folder of the run, for the exported Python code.

    Raises
    ------
    TypeError
        If a shape is not a shape, or `decode` or `encode` is not a function.
    ValueError
        If there is no shape, if the shapes or latents differ in D, or if `decode` does not return images.
    """

    def __init__(
        self,
        shapes: Mapping[str, Shape],
        *,
        name: str = "latents",
        decode: Callable[[np.ndarray], ArrayLike] | None = None,
        encode: Callable[[np.ndarray], ArrayLike] | None = None,
        latents: np.ndarray | None = None,
        unseen: np.ndarray | None = None,
        images: Callable[[], np.ndarray | None] | None = None,
        directions: Mapping[str, Direction] | None = None,
        settings: DrawSettings | None = None,
        default: str | None = None,
        pixel_range: tuple[float, float] = PIXEL_RANGE,
        folder: str | None = None,
    ):
        if not shapes:
            raise ValueError("shapes: expected at least one shape; got none")
        for shape in shapes.values():
            check_shape(shape)
        self.shapes = dict(shapes)
        self.n_features = next(iter(shapes.values())).n_features
        for other, shape in self.shapes.items():
            if shape.n_features != self.n_features:
                raise ValueError(
                    f"shapes: expected {self.n_features} latent dimensions in all shapes; got "
                    f"{shape.n_features} in {other}"
                )
        self.name, self.folder = name, folder
        self.default = next(iter(self.shapes)) if default is None else default
        self.settings = settings or DrawSettings()
        self.latents = None if latents is None else self._matrix("latents", latents)
        self.unseen = None if unseen is None else self._matrix("unseen", unseen)
        self.directions = dict(directions or {})
        for direction in self.directions.values():
            self._point("directions", direction.vector)
        self._load_images = images
        self._cached: dict[Any, Any] = {}
        # Decoders of other frameworks may not be thread-safe.
        self._network, self._loading = threading.RLock(), threading.Lock()
        self._decoder = None if decode is None else ImageDecoder(decode, pixel_range)
        self.image_shape: tuple[int, ...] | None = None
        if self._decoder is not None:
            centres = np.repeat(self.centre(self.default)[None], BATCH, axis=0)
            self.image_shape = self.images(centres).shape[1:]
        if encode is not None and not callable(encode):
            raise TypeError(
                f"encode: expected a function from images to latents; got {type(encode).__name__}"
            )
        self._encode = encode if self._takes_pictures() else None

    def _matrix(self, name: str, rows: np.ndarray) -> np.ndarray:
        return np.asarray(check_matrix(name, rows, least=1, n_columns=self.n_features), np.float32)

    def _point(self, name: str, values: ArrayLike) -> np.ndarray:
        point = np.asarray(values, np.float32)
        if point.shape != (self.n_features,) or not np.isfinite(point).all():
            raise ValueError(f"{name}: expected {self.n_features} finite numbers; got shape {point.shape}")
        return point

    def _takes_pictures(self) -> bool:
        if self.image_shape is None:
            return False
        height, width, channels = self.image_shape
        return height == width and channels in (1, 3)

    def warm_up(self) -> None:
        """Compile everything that the sliders need, so that the first move does not wait."""
        for name in self.shapes:
            place = self.place(name, None, {"c0": 9.0}, self.settings, keep_inside=True)
            self.axes(name, None, self.settings)
            if self._decoder is not None:
                self.images(place.latents[None])
        if self._encode is not None and self.image_shape is not None:
            self._encoded(np.zeros(self.image_shape, np.uint8))

    @property
    def has_decoder(self) -> bool:
        """Whether points can be decoded."""
        return self._decoder is not None

    @property
    def has_encoder(self) -> bool:
        """Whether pictures can be encoded."""
        return self._encode is not None

    # --- shapes ---

    def shape(self, name: str) -> Shape:
        """Return the shape of this name.

        Raises
        ------
        ValueError
            If no shape has this name.
        """
        return self.shapes[check_choice("shape", name, self.shapes)]

    def centre(self, name: str) -> np.ndarray:
        """Return the centre of a shape, ``(D,)``."""
        return self._once(("centre", name), lambda: self._centre(self.shape(name)))

    def _centre(self, shape: Shape) -> np.ndarray:
        if isinstance(shape, Mixture):
            return np.asarray(shape.shared.mean, np.float32)
        return self._reconstructed(shape, np.zeros(shape.n_components))

    def _scores(self, frame: Any, point: np.ndarray) -> np.ndarray:
        """Compute the scores of one point, ``(K,)``."""
        return np.asarray(_project(frame, point[None]))[0]

    def _reconstructed(self, frame: Any, scores: np.ndarray) -> np.ndarray:
        """Compute the latents of the scores of one point, ``(D,)``."""
        return np.asarray(_reconstruct(frame, scores[None].astype(np.float32)), np.float32)[0]

    def _frame(self, name: str, part: int | None) -> Any:
        """Return the shape along whose axes a point moves: a part of a mixture, or the shape itself."""
        shape = self.shape(name)
        if not isinstance(shape, Mixture):
            return shape
        return self._once(("part", name, part), lambda: shape.part(0 if part is None else part))

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._cached:
            self._cached[key] = make()
        return self._cached[key]

    def nearest_part(self, name: str, latents: np.ndarray, settings: DrawSettings) -> int | None:
        """Find the part of a mixture in whose region a point lies deepest; None for any other shape."""
        shape = self.shape(name)
        if not isinstance(shape, Mixture):
            return None
        parts = shape.parts
        mean, components, scale = self._once(
            ("parts", name), lambda: tuple(map(np.asarray, (parts.mean, parts.components, parts.scale)))
        )
        scores = np.einsum("mkd,md->mk", components, latents - mean) / scale
        return int(np.argmin(as_region(settings.region).gauge(jnp.asarray(scores, np.float32))))

    def plane(self, name: str, latents: np.ndarray) -> np.ndarray:
        """Compute the scores of rows on the first two components, in standard deviations, ``(n, 2)``."""
        shape = self.shape(name)
        frame = shape.shared if isinstance(shape, Mixture) else shape
        scores = np.asarray(_project(frame, latents))[:, :2] / np.asarray(frame.scale)[:2]
        return np.pad(scores, [(0, 0), (0, 2 - scores.shape[1])]).astype(np.float32)

    def training_plane(self, name: str) -> np.ndarray:
        """Positions of up to 2,048 training latents in the plane of the first two components, ``(n, 2)``."""
        if self.latents is None:
            return np.zeros((0, 2), np.float32)
        return self._once(("plane", name), lambda: self.plane(name, self._shown()))

    def training_gauges(self, name: str, region: Any) -> np.ndarray | None:
        """Percentiles 5, 50 and 95 of the gauges of training latents at level 1; None without latents.

        Gauges are inversely proportional to the level.
        """
        if self.latents is None:
            return None

        def measure() -> np.ndarray:
            gauges = el.gauge(self.shape(name), self._shown(), level=1.0, region=region)
            return np.quantile(np.asarray(gauges, np.float64), [0.05, 0.5, 0.95])

        return self._once(("gauges", name, region), measure)

    def _shown(self) -> np.ndarray:
        assert self.latents is not None
        rows = np.linspace(0, len(self.latents) - 1, min(_N_SHOWN, len(self.latents))).astype(int)
        return self.latents[rows]

    # --- points ---

    def axes(
        self, name: str, latents: np.ndarray | None, settings: DrawSettings, n: int = 12
    ) -> tuple[int | None, list[Axis]]:
        """Axes along which a point can be moved.

        Parameters
        ----------
        name : str
            Name of the shape.
        latents : ndarray, shape (D,), optional
            Point to move. The default is the centre.
        settings : DrawSettings
            Settings with the region by which the part of a mixture is chosen.
        n : int
            Number of components, from the first.

        Returns
        -------
        part : int or None
            Part of a mixture to which the axes belong.
        axes : list of Axis
            Components, followed by directions.
        """
        centre = self.centre(name)
        point = centre if latents is None else latents
        part = self.nearest_part(name, point, settings)
        frame = self._frame(name, part)
        at = self._scores(frame, point) / np.asarray(frame.scale)
        shares = getattr(frame, "explained_variance_ratio", None)
        components = [
            Axis(f"c{i}", f"component {i + 1}", None if shares is None else float(shares[i]), float(at[i]))
            for i in range(min(n, frame.n_components))
        ]
        directions = [
            Axis(f"d:{key}", key, None, float(direction.score(point)))
            for key, direction in self.directions.items()
        ]
        return part, components + directions

    def place(
        self,
        name: str,
        start: np.ndarray | None,
        moves: Mapping[str, float],
        settings: DrawSettings,
        *,
        part: int | None = None,
        keep_inside: bool = False,
    ) -> Place:
        """Move a point.

        Parameters
        ----------
        name : str
            Name of the shape.
        start : ndarray, shape (D,), optional
            Point to move. The default is the centre.
        moves : mapping of str to float
            Moves along axes in standard deviations, by the ids of the axes.
        settings : DrawSettings
            Settings with the region and the level of the gauge.
        part : int, optional
            Part of a mixture along whose axes the point moves.
        keep_inside : bool
            Whether a point that leaves the region is pulled towards the centre of the shape, or of the
            nearest part. A point that starts outside moves no further out.

        Returns
        -------
        Place

        Raises
        ------
        ValueError
            If a shape or an axis is unknown, or a number is not finite.
        """
        start = self.centre(name) if start is None else self._point("start", start)
        moves = {axis: amount for axis, amount in moves.items() if amount != 0}
        latents = self._moved(name, start, moves, part)
        kept, gauge = 1.0, self.gauge(name, latents, settings)
        if keep_inside and moves and gauge > 1:
            limit = max(1.0, self.gauge(name, start, settings))
            if gauge > limit:
                kept = limit / gauge
                latents = self._pulled(name, latents, kept, settings)
                gauge = self.gauge(name, latents, settings)
        first, second = self.plane(name, latents[None])[0]
        return Place(latents, gauge, kept, (float(first), float(second)))

    def _moved(
        self, name: str, start: np.ndarray, moves: Mapping[str, float], part: int | None
    ) -> np.ndarray:
        frame = self._frame(name, part)
        along, moved = np.zeros(frame.n_components), start.astype(np.float64)
        for axis, amount in moves.items():
            if axis.startswith("d:"):
                moved += amount * self.directions[check_choice("moves", axis[2:], self.directions)].vector
            else:
                number = axis[1:]
                known = axis[:1] == "c" and number.isascii() and number.isdecimal()
                if not (known and int(number) < frame.n_components):
                    raise ValueError(f"moves: expected c0 to c{frame.n_components - 1}; got {axis!r}")
                along[int(number)] = amount * float(frame.scale[int(number)])
        if not (np.abs(along) < _LARGEST).all():
            raise ValueError("moves: expected numbers within the range of float32; got larger ones")
        if along.any():
            # The part of the point off the principal axes does not change.
            scores = self._scores(frame, start)
            moved += self._reconstructed(frame, scores + along) - self._reconstructed(frame, scores)
        with np.errstate(over="ignore"):
            return self._point("moves", moved)

    def _pulled(self, name: str, latents: np.ndarray, share: float, settings: DrawSettings) -> np.ndarray:
        """Scale the gauge of a point by a share: gauges are proportional on the way to the centre."""
        frame = self._frame(name, self.nearest_part(name, latents, settings))
        scores = self._scores(frame, latents)
        return latents + self._reconstructed(frame, share * scores) - self._reconstructed(frame, scores)

    def gauge(self, name: str, latents: np.ndarray, settings: DrawSettings) -> float:
        """Compute the gauge of one point."""
        return float(self.gauges(name, latents[None], settings)[0])

    def gauges(self, name: str, latents: np.ndarray, settings: DrawSettings) -> np.ndarray:
        """Compute the gauges of rows, ``(n,)``."""
        gauges = el.gauge(self.shape(name), latents, level=settings.radius, region=settings.region)
        return np.asarray(gauges, np.float64)

    def spans(
        self, name: str, point: np.ndarray, settings: DrawSettings, *, part: int | None, n: int = 12
    ) -> dict[str, tuple[float, float]]:
        """Compute the range of each axis within which a point stays inside.

        Parameters
        ----------
        name, point, settings, part, n
            Arguments as for :meth:`place` and :meth:`axes`.

        Returns
        -------
        dict of str to (float, float)
            Positions along each axis, by its id, in standard deviations as in :class:`Axis`. The result is
            empty for a point outside, and for a shape with curved axes.
        """
        frame = self._frame(name, part)
        if not isinstance(frame, PCAState) or self.gauge(name, point, settings) > 1:
            return {}
        n = min(n, frame.n_components)
        steps = {
            f"c{i}": step for i, step in enumerate(np.asarray(frame.components * frame.scale[:, None])[:n])
        }
        steps |= {f"d:{key}": direction.vector for key, direction in self.directions.items()}
        at = dict(zip(steps, self._scores(frame, point) / np.asarray(frame.scale), strict=False))
        at |= {f"d:{key}": float(direction.score(point)) for key, direction in self.directions.items()}
        way = np.linspace(-_SPAN, _SPAN, _N_ON_SPAN, dtype=np.float32)
        rows = point + way[:, None] * np.stack(list(steps.values()))[:, None]
        gauges = self.gauges(name, rows.reshape(-1, rows.shape[-1]), settings).reshape(len(steps), len(way))
        spans = {}
        for axis, along in zip(steps, gauges, strict=True):
            low, high = _crossings(way, along)
            spans[axis] = float(at[axis] + low), float(at[axis] + high)
        return spans

    def pulled_inside(self, name: str, latents: np.ndarray, settings: DrawSettings) -> np.ndarray:
        """Pull a point towards the centre of its shape, or of the nearest part, up to the boundary."""
        gauge = self.gauge(name, latents, settings)
        return latents if gauge <= 1 else self._pulled(name, latents, 1 / gauge, settings)

    def between(self, name: str, start: np.ndarray, end: np.ndarray, fractions: np.ndarray) -> np.ndarray:
        """Compute points on the path from one point to another, at fractions (n,) of it, ``(n, D)``.

        The path is straight in the coordinates of the shape, and therefore curved for a flow.
        """
        shape = self.shape(name)
        if isinstance(shape, PCAState | Mixture):
            fractions = np.asarray(fractions, np.float32)[:, None]
            return (1 - fractions) * start + fractions * end
        key = start.tobytes(), end.tobytes()
        path = self._once(("path", name), dict)
        if key not in path:
            path.clear()
            path[key] = el.interpolate(shape, start, end, _N_ON_PATH).latents
        return path[key][np.rint((_N_ON_PATH - 1) * np.asarray(fractions)).astype(int)]

    def square(self, name: str, corners: np.ndarray, n: int) -> np.ndarray:
        """Compute the points of a square between four corners, ``(n * n, D)``, row by row.

        Parameters
        ----------
        name : str
            Name of the shape in whose coordinates the paths between points are straight.
        corners : ndarray, shape (4, D)
            Points at the upper left, upper right, lower left and lower right corner.
        n : int
            Number of points in a row.
        """
        fractions = np.linspace(0, 1, n)
        left, right = (self.between(name, corners[i], corners[i + 2], fractions) for i in (0, 1))
        return np.concatenate(
            [self.between(name, *ends, fractions) for ends in zip(left, right, strict=True)]
        )

    # --- images ---

    def images(self, latents: np.ndarray) -> np.ndarray:
        """Decode rows, one alone or in batches of eight, ``(n, H, W, C)`` uint8.

        Raises
        ------
        ValueError
            If there is no decoder, or it does not return images.
        """
        if self._decoder is None:
            raise ValueError("decode: expected a decoder; got a space without one")
        size = 1 if len(latents) == 1 else BATCH
        with self._network:
            batches = []
            for first in range(0, len(latents), size):
                rows = latents[first : first + size]
                padded = np.pad(rows, [(0, size - len(rows)), (0, 0)])
                batches.append(np.asarray(self._decoder(padded))[: len(rows)])
        return np.concatenate(batches)

    def draws(
        self,
        name: str,
        settings: DrawSettings,
        rows: Sequence[int],
        *,
        seed: int = 0,
        label: str | None = None,
    ) -> el.Draws | el.MixtureDraws:
        """Draw rows of the sequence of a seed."""
        shape = self.shape(name)
        return el.sample_at(el.key(seed), shape, np.asarray(rows), label=label, **settings.options)

    def encode(self, content: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Encode the picture in an image file.

        Parameters
        ----------
        content : bytes
            Content of a file of any image format that training reads.

        Returns
        -------
        picture : ndarray, shape (H, W, C)
            Picture as the encoder sees it: cut to its largest centred square, and resized.
        latents : ndarray, shape (D,)

        Raises
        ------
        ValueError
            If there is no encoder, or the content is not a picture of at most 50 million pixels.
        """
        if self._encode is None or self.image_shape is None:
            raise ValueError("encode: expected an encoder of square images; got a space without one")
        from ellipsoid.models.decoding import decode_picture

        size, _, channels = self.image_shape
        picture = decode_picture(content, size, channels, max_pixels=MAX_PIXELS)
        return picture, self._encoded(picture)

    def _encoded(self, picture: np.ndarray) -> np.ndarray:
        assert self._encode is not None
        with self._network:
            latents = np.asarray(self._encode(picture[None]), np.float32)
        if latents.shape != (1, self.n_features):
            raise ValueError(f"encode: expected latents (1, {self.n_features}); got shape {latents.shape}")
        return self._point("encode", latents[0])

    # --- neighbours ---

    def nearest(self, latents: np.ndarray, n: int = 6) -> Neighbours:
        """Find the training images whose latents lie nearest to a point.

        Raises
        ------
        ValueError
            If the space has no training latents.
        """
        known = self.latents
        if known is None:
            raise ValueError("latents: expected latents of training images; got a space without them")
        squares = self._once("squares", lambda: np.sum(np.square(known), axis=1))
        n = min(n, len(squares))
        near = np.argpartition(squares - 2 * known @ latents, n - 1)[:n]
        # The distances of these few are computed again without cancellation.
        distances = np.linalg.norm(known[near] - latents, axis=1)
        order = np.argsort(distances, kind="stable")
        typical = self._once("typical", self._typical_distance)
        ratio = float(distances.min() / typical) if typical > 0 else float("nan")
        return Neighbours(near[order], distances[order], ratio)

    def _typical_distance(self) -> float:
        """Median distance from an unseen image, or else a training image, to its nearest training image."""
        assert self.latents is not None
        others = self.unseen is not None
        source = self.unseen if self.unseen is not None else self.latents
        rows = np.linspace(0, len(source) - 1, min(_N_TYPICAL, len(source))).astype(int)
        squares = self._cached["squares"] - 2 * source[rows] @ self.latents.T
        if not others:
            squares[np.arange(len(rows)), rows] = np.inf
        nearest = np.argmin(squares, axis=1)
        return float(np.median(np.linalg.norm(self.latents[nearest] - source[rows], axis=1)))

    def training_images(self) -> np.ndarray | None:
        """Training images in the order of the latents, read by the first call; None if they are missing."""
        with self._loading:
            return self._once("images", self._read_images)

    def _read_images(self) -> np.ndarray | None:
        images = None
        if self._load_images is not None and self.latents is not None:
            try:
                images = self._load_images()
            except (OSError, ValueError, TypeError):
                return None  # without images the page shows reconstructions
        if images is None or len(images) != len(self.latents if self.latents is not None else ()):
            return None
        return images if images.shape[1:] == self.image_shape else None


def _crossings(way: np.ndarray, gauges: np.ndarray) -> tuple[float, float]:
    """Find where the gauge passes 1 on both sides of the middle of a way; its ends if it does not."""
    middle = len(way) // 2

    def first(way: np.ndarray, gauges: np.ndarray) -> float:
        beyond = np.flatnonzero(gauges > 1)
        if not len(beyond):
            return float(way[-1])
        last = max(int(beyond[0]), 1)
        before, after = gauges[last - 1], gauges[last]
        share = (1 - before) / (after - before) if after > before else 0.0
        return float(way[last - 1] + np.clip(share, 0, 1) * (way[last] - way[last - 1]))

    return first(way[middle::-1], gauges[middle::-1]), first(way[middle:], gauges[middle:])
