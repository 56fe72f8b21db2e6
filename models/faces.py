"""Procedural faces: drawn portraits in which every feature follows one normally distributed factor.

A face is a function of a vector of correlated standard normal factors (`FACTOR_NAMES`, `FACTOR_CORRELATION`),
so the images form a smooth manifold of known coordinates. Shapes are signed distance functions, negative
inside, in a frame with x to the right and y down in which the head is about 1.1 wide and 1.2 high; their
edges are antialiased over one pixel, so the same face can be drawn at any size. What a face may or may not
have (glasses, a beard, curls) grows out of nothing as its factor passes a threshold, which keeps the images
continuous in the factors.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jax import Array
from jax.typing import ArrayLike


class Factors(NamedTuple):
    """The factors of one face, in standard deviations; left and right are the viewer's."""

    skin_tone: Array  # light to deep
    head_width: Array
    jaw_width: Array  # pointed to square
    hair_tone: Array  # black over brown to blond
    hair_length: Array
    hair_volume: Array
    hair_curl: Array
    fringe: Array  # high forehead to bangs
    parting: Array  # left to right
    eye_size: Array
    eye_spacing: Array
    eye_colour: Array  # brown over green to blue
    brow_height: Array
    brow_tilt: Array  # worried to stern
    brow_thickness: Array
    nose_length: Array
    nose_width: Array
    mouth_width: Array
    lips: Array  # thin and pale to full and red
    smile: Array  # frown to laugh
    beard: Array
    glasses: Array
    gaze: Array  # left to right
    head_turn: Array  # left to right
    head_tilt: Array  # left to right
    light: Array  # from the left to from the right
    background: Array  # green over blue and violet to peach
    clothes: Array


FACTOR_NAMES = Factors._fields

_CORRELATED_PAIRS = {
    ("skin_tone", "hair_tone"): -0.7,
    ("skin_tone", "eye_colour"): -0.5,
    ("skin_tone", "nose_width"): 0.3,
    ("hair_tone", "eye_colour"): 0.5,
    ("head_width", "jaw_width"): 0.4,
    ("head_width", "nose_width"): 0.3,
    ("head_width", "eye_spacing"): 0.4,
    ("jaw_width", "hair_length"): -0.4,
    ("jaw_width", "brow_thickness"): 0.4,
    ("jaw_width", "beard"): 0.4,
    ("hair_length", "hair_volume"): 0.2,
    ("hair_length", "lips"): 0.4,
    ("hair_length", "beard"): -0.5,
    ("hair_volume", "hair_curl"): 0.4,
    ("eye_size", "brow_height"): 0.3,
    ("eye_size", "lips"): 0.2,
    ("brow_height", "smile"): 0.3,
    ("brow_tilt", "smile"): -0.3,
    ("brow_thickness", "beard"): 0.4,
    ("nose_length", "nose_width"): 0.2,
    ("mouth_width", "smile"): 0.5,
    ("lips", "beard"): -0.3,
    ("gaze", "head_turn"): 0.5,
    ("head_turn", "head_tilt"): 0.3,
    ("background", "clothes"): -0.3,
}


def _correlation_matrix() -> np.ndarray:
    matrix = np.eye(len(FACTOR_NAMES))
    for (first, second), correlation in _CORRELATED_PAIRS.items():
        i, j = FACTOR_NAMES.index(first), FACTOR_NAMES.index(second)
        matrix[i, j] = matrix[j, i] = correlation
    matrix.setflags(write=False)
    return matrix


FACTOR_CORRELATION = _correlation_matrix()
_FACTOR_ROOT = np.linalg.cholesky(FACTOR_CORRELATION).astype(np.float32)

# Where a feature begins to show, in standard deviations.
_BEARD_FROM, _GLASSES_FROM, _CURLS_FROM = 0.6, 0.65, 0.85

_PALETTES = {  # sRGB
    "skin": "ffe0cc f6cbaa e0aa7e b27854 7a4f3a",
    "hair": "282025 3c2a26 583a2b 825030 ac6a3a d4a05e f0d08c",
    "iris": "4a2e1e 78542c 5c8454 508cb2 7aa4c8",
    "wall": "a6cec6 accade c2c0de e2c2cc f0d4b4",
    "cloth": "d8a85c cc665a 845274 3e4c76 387882 709068",
}


def _rgb(red: float, green: float, blue: float) -> Array:
    """Colour of shape (3, 1, 1), to go with planes of shape (1, size, size)."""
    return jnp.array([red, green, blue], jnp.float32)[:, None, None]


def _along(palette: str, factor: Array) -> Array:
    """Colour on a palette; the sigmoid spreads a standard normal factor about evenly along it."""
    colours = np.frombuffer(bytes.fromhex(_PALETTES[palette]), np.uint8).reshape(-1, 3) / np.float32(255)
    steps = np.arange(len(colours), dtype=np.float32)
    weights = jnp.maximum(0, 1 - jnp.abs(jax.nn.sigmoid(1.6 * factor) * steps[-1] - steps))
    return (weights @ colours)[:, None, None]


def _over(image: Array, colour: Array | float, cover: Array) -> Array:
    """Paint a colour over the part `cover` of each pixel."""
    return image + cover * (colour - image)


# Below, polynomials stand in for bells and waves: drawing is nothing but these functions, and on the CPU an
# exponential costs about 10 times, a cosine 50 times as much as a square root.


def _norm(x: Array, y: Array) -> Array:
    return jnp.sqrt(x * x + y * y + 1e-9)  # finite gradients at the origin


def _ellipse(x: Array, y: Array, width: Array | float, height: Array | float) -> Array:
    """Distance to an ellipse with these semi-axes, exact to first order at its edge."""
    u, v = x / width, y / height
    level = jnp.sqrt(u * u + v * v + 1e-6)
    slope = jnp.sqrt((u / width) ** 2 + (v / height) ** 2 + 1e-6)
    return level * (level - 1) / slope


def _box(x: Array, y: Array, width: Array | float, height: Array | float, radius: float) -> Array:
    """Distance to a box with these half-widths and rounded corners."""
    x, y = jnp.abs(x) - width + radius, jnp.abs(y) - height + radius
    return _norm(jnp.maximum(x, 0), jnp.maximum(y, 0)) + jnp.minimum(jnp.maximum(x, y), 0) - radius


def _stroke(x: Array, y: Array, half: Array | float) -> Array:
    """Distance to the segment |x| <= half; with y measured from a flat curve, to that piece of the curve."""
    return _norm(jnp.maximum(jnp.abs(x) - half, 0), y)


def _union(a: Array, b: Array, blend: float) -> Array:
    """Minimum of two distances, rounded where they differ by less than `blend`."""
    overlap = jnp.maximum(blend - jnp.abs(a - b), 0)
    return jnp.minimum(a, b) - overlap * overlap / (4 * blend)


def _intersection(a: Array, b: Array, blend: float) -> Array:
    return -_union(-a, -b, blend)


def _ramp(low: float, high: float, value: Array) -> Array:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = jnp.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _bell(x: Array, y: Array, width: Array | float, height: Array | float) -> Array:
    """Soft spot: 1 at its centre, 0 outside the ellipse."""
    inside = jnp.maximum(1 - (x / width) ** 2 - (y / height) ** 2, 0)
    return inside * inside


def _wave(t: Array) -> Array:
    """Within 0.02 of cos(2 pi t)."""
    fold = 2 * jnp.abs(t - jnp.round(t))
    return 1 - 2 * fold * fold * (3 - 2 * fold)


def _softly_limited(factors: Array | float) -> Array:
    """Factors held within 2.6 standard deviations, so that extreme faces remain faces."""
    return 2.6 * jnp.tanh(jnp.asarray(factors, jnp.float32) / 2.6)


def _excess(factor: Array, threshold: float) -> Array:
    """How far a softly limited factor lies above a threshold that is not."""
    return jnp.maximum(factor - _softly_limited(threshold), 0)


class _Portrait:
    """One face: the proportions that its parts share, and the parts, each painted over an image.

    In a proportion such as `0.52 + 0.03 * f.head_width` stand its mean and what one standard deviation adds.
    Coordinates: x, y of the picture; hx, hy of the head; fx across the face from its middle, ax the same
    without its sign; ex, ey from the centre of the eye on that side.
    """

    def __init__(self, factors: Array, size: int):
        f = self.f = Factors(*_softly_limited(factors))
        self.pixel = 1.84 / size
        across = (jnp.arange(size, dtype=jnp.float32) + 0.5) * self.pixel - 0.92
        self.x, self.y = x, y = across[None, None, :], across[None, :, None] + 0.02

        self.skin, self.hair = _along("skin", f.skin_tone), _along("hair", f.hair_tone)
        self.shade = self.skin * _rgb(0.80, 0.64, 0.60)
        self.lip = self.skin * _rgb(0.86, 0.50, 0.50) + _rgb(0.05, 0.0, 0.01)
        self.ink = _rgb(0.17, 0.11, 0.12)

        # The head tilts about the neck, by angles small enough for sin a = a. When it turns, what lies on the
        # face (fx) slides over a round surface, which narrows the far side.
        tilt, neck = 0.045 * f.head_tilt, 0.6
        self.turn = turn = 0.09 * f.head_turn
        self.width = width = 0.52 + 0.03 * f.head_width
        self.hx, self.hy = hx, hy = x + tilt * (y - neck), y - tilt * x
        self.fx = hx * (1 + 0.22 * (hx / width) ** 2) - turn
        self.ax = jnp.abs(self.fx)
        self.lit = f.light * hx / width

        self.jaw = width * (0.74 + 0.07 * f.jaw_width)
        cranium = _ellipse(hx, hy + 0.06, width, 0.52)
        self.head = _union(cranium, _ellipse(hx - 0.25 * turn, hy - 0.26, self.jaw, 0.385), 0.25)

        self.eye_size = 0.118 + 0.015 * f.eye_size
        self.eye_spacing = 0.24 + 0.02 * f.eye_spacing
        self.ex, self.ey = self.ax - self.eye_spacing, hy - 0.03
        self.nose_length = 0.19 + 0.03 * f.nose_length
        self.mouth_y = 0.315 + 0.4 * self.nose_length
        self.smile = f.smile + 1.25
        self.mouth_width = 0.185 + 0.035 * f.mouth_width + 0.014 * self.smile

        self.long = long = jax.nn.sigmoid(2.5 * f.hair_length)
        self.curl = 0.5 * jax.nn.softplus(2 * (f.hair_curl - _softly_limited(_CURLS_FROM)))
        self.curls = _wave(3.4 * hx) * _wave(3.4 * hy)
        self.part = 0.16 * f.parting
        volume = 0.105 + 0.036 * f.hair_volume + 0.02 * self.curl
        length = 0.02 + 0.84 * long
        fall = width + 0.01 + (0.1 + 0.6 * long) * volume
        crown = width + 0.01 + (0.2 + 0.45 * long) * volume
        self.mane = _union(
            _ellipse(hx - 0.2 * self.part, hy + 0.10 + 0.4 * volume, crown, 0.50 + volume),
            _box(hx, hy - 0.5 * length + 0.12, fall, 0.5 * length + 0.12, 0.12),
            0.15,
        )
        self.mane -= 0.018 * self.curl * self.curls

    def fill(self, distance: Array) -> Array:
        """Cover of a shape: the part of each pixel that lies inside."""
        return jnp.clip(0.5 - distance / self.pixel, 0, 1)

    def line(self, distance: Array, half: Array | float) -> Array:
        """Cover of a line with this half-width; one thinner than a pixel is faint, not broken."""
        distance, half = jnp.abs(distance) / self.pixel, half / self.pixel
        return jnp.clip(distance + 0.5, -half, half) - jnp.clip(distance - 0.5, -half, half)

    def background(self) -> Array:
        wall = _along("wall", self.f.background)
        glow = _bell(self.x - 0.3 * self.f.light, self.y + 0.15, 1.5, 1.5)
        return wall * (0.97 - 0.10 * self.y) + 0.35 * glow * (1 - wall)

    def hair_behind(self, image: Array) -> Array:
        return _over(image, self.hair * 0.62, self.fill(self.mane))

    def body(self, image: Array) -> Array:
        f, x, y = self.f, self.x, self.y
        neck_width = 0.21 + 0.012 * f.head_width + 0.02 * f.jaw_width
        neck = _box(x, y - 0.75, neck_width, 0.40, 0.05)
        bust = self.fill(_union(_ellipse(x, y - 1.17, 0.84 + 0.03 * f.jaw_width, 0.42), neck, 0.22))
        under_chin = _ramp(0.12, -0.06, _ellipse(self.hx, self.hy - 0.36, self.jaw, 0.385))
        image = _over(image, _over(self.skin, self.shade, 0.3 + 0.7 * under_chin), bust)
        cloth = _along("cloth", f.clothes)
        neckline = jnp.minimum(_ellipse(x, y - 0.73, neck_width + 0.09, 0.14), y - 0.73)
        image = _over(image, cloth * (1.25 - 0.25 * y + 0.10 * f.light * x), bust * self.fill(-neckline))
        return _over(image, cloth * 0.8, bust * self.line(neckline, 0.014))

    def face(self, image: Array) -> Array:
        ear = jnp.abs(self.hx + 0.5 * self.turn) - self.width + 0.08 * self.long
        outer = self.fill(_ellipse(ear, self.hy - 0.10, 0.085, 0.13))
        inner = self.fill(_ellipse(ear - 0.015, self.hy - 0.095, 0.035, 0.065))
        image = _over(image, _over(self.skin, self.shade, 0.35 + 0.5 * inner), outer)
        rounding = _ramp(-0.25, 0.0, self.head)
        shading = jnp.clip(0.12 + 0.32 * rounding * (1 - 0.5 * self.lit) - 0.12 * self.lit, 0, 1)
        blush = (0.45 + 0.08 * self.f.smile) * _bell(self.ax - 0.29, self.hy - 0.24, 0.24, 0.18)
        skin = _over(self.skin * 1.03, self.shade, shading)
        return _over(image, _over(skin, self.skin * _rgb(1.0, 0.64, 0.60), blush), self.fill(self.head))

    def nose(self, image: Array) -> Array:
        light, width = self.f.light, 0.10 + 0.028 * self.f.nose_width
        x, y = self.fx - 0.35 * self.turn, self.hy - self.nose_length
        image = _over(image, self.shade, 0.35 * _bell(x + 0.035 * light, y + 0.10, 0.09, 0.22))
        image = _over(image, self.skin + 0.12, 0.5 * _bell(x - 0.012 * light, y + 0.01, width, 0.09))
        wings = _ellipse(jnp.abs(x) - 0.72 * width, y - 0.005, 0.38 * width, 0.036)
        image = _over(image, self.shade, 0.75 * _ramp(0.02, -0.03, wings))
        base = _stroke(x, y - 0.038 + 0.03 * (x / width) ** 2, 0.8 * width)
        return _over(image, self.shade * 0.74, self.line(base, 0.016))

    def beard(self, image: Array) -> Array:
        growth = _excess(self.f.beard, _BEARD_FROM)
        chin = _ellipse(self.hx - 0.3 * self.turn, self.hy - 0.36, 0.95 * self.jaw, 0.30 + 0.05 * growth)
        bare = _ellipse(self.hx - 0.8 * self.turn, self.hy + 0.02, 0.86 * self.width, 0.31)
        whiskers = _ramp(-0.05, 0.05, bare) * _ramp(-0.05, 0.2, self.hy)
        t = jnp.minimum(self.ax / self.mouth_width, 1.5)
        moustache = _stroke(self.ax, self.hy - self.mouth_y + 0.06 - 0.05 * t * t, self.mouth_width)
        cover = jnp.maximum(
            whiskers * self.fill(_union(self.head, chin, 0.15)), _ramp(0.055, 0.015, moustache)
        )
        return _over(image, self.hair * (0.72 + 0.06 * self.lit), jnp.minimum(2 * growth, 0.94) * cover)

    def mouth(self, image: Array) -> Array:
        half, smile, lips = self.mouth_width, self.smile, self.f.lips
        arch = 1 - (self.fx / half) ** 2
        gape = 0.03 * jax.nn.softplus(3 * (smile - 1.4))
        upper = self.mouth_y - self.hy + (0.038 * smile - 0.15 * gape) * arch - 0.015 * smile
        lower = -upper - gape * arch
        gap, within = jnp.maximum(upper, lower), self.fill(self.ax - half)
        plump = (0.040 + 0.014 * lips) * arch
        outline = jnp.maximum(upper - 0.7 * plump, lower - 1.2 * plump)
        image = _over(image, self.lip, jnp.clip(0.55 + 0.2 * lips, 0.1, 1) * self.fill(outline) * within)
        opened = jnp.minimum(gape / 0.02, 1) * within
        image = _over(image, _rgb(0.36, 0.13, 0.15), self.fill(gap) * opened)
        teeth = jnp.maximum(jnp.maximum(gap, -upper - 0.55 * gape), self.ax - 0.88 * half)
        image = _over(image, _rgb(0.98, 0.97, 0.95), self.fill(teeth) * opened)
        return _over(image, self.lip * 0.45, self.line(upper, 0.013 * jnp.clip(0.5 + arch, 0, 1)))

    def eyes(self, image: Array) -> Array:
        f, size, ex, ey = self.f, self.eye_size, self.ex, self.ey
        outward = jnp.where(self.fx > 0, 1.0, -1.0)
        image = _over(image, self.shade, 0.35 * _bell(ex, ey + 0.03, 2.4 * size, 1.8 * size))
        white = _ellipse(ex, ey, 1.12 * size, (0.88 - 0.04 * f.smile) * size)
        image = _over(image, 0.98 - 0.16 * _ramp(0.03, -0.1, ey), self.fill(white))
        ix = ex - outward * 0.24 * size * f.gaze
        radius = _norm(ix, ey)
        iris = _along("iris", f.eye_colour) * (1 + 0.3 * jnp.clip(ey / size, -1, 1))
        image = _over(image, iris, self.fill(jnp.maximum(radius - 0.70 * size, white)))
        image = _over(image, 0.5 * self.ink, self.fill(jnp.maximum(radius - 0.40 * size, white)))
        glint = _norm(ix - outward * 0.12 * size * f.light, ey + 0.28 * size) - 0.20 * size
        image = _over(image, 1.0, self.fill(glint))
        lashes = _norm(jnp.maximum(ey, 0), white)
        return _over(image, self.ink, self.line(lashes, 0.015 + 0.003 * f.lips))

    def brows(self, image: Array) -> Array:
        f, half = self.f, 1.25 * self.eye_size
        t = jnp.clip(self.ex / half, -1.5, 1.5)
        height = 0.155 + 0.4 * self.eye_size + 0.026 * f.brow_height
        curve = self.ey + height - 0.025 * (1 - f.brow_tilt) * t - 0.035 * t * t
        thickness = (0.026 + 0.0080 * f.brow_thickness) * (1 - 0.3 * t)
        return _over(image, self.hair * 0.62, self.line(_stroke(self.ex, curve, half), thickness))

    def glasses(self, image: Array) -> Array:
        rim = 0.03 * jnp.minimum(_excess(self.f.glasses, _GLASSES_FROM), 0.9)
        lens = _box(self.ex + 0.005, self.ey - 0.015, 0.18, 0.16, 0.12)
        image = _over(image, 1.0, jnp.minimum(14 * rim, 0.14) * self.fill(lens))
        bridge = _stroke(self.ax, self.ey + 0.03, self.eye_spacing - 0.175)
        arm = jnp.maximum(_stroke(self.ex - 0.475, self.ey + 0.02, 0.3), self.head)
        return _over(image, self.ink, self.line(jnp.minimum(jnp.minimum(jnp.abs(lens), bridge), arm), rim))

    def hair_in_front(self, image: Array) -> Array:
        f, curls = self.f, self.curl * self.curls
        x, y = self.hx - 0.6 * self.turn, self.hy
        # The face shows through a hole in the mane: an arch that leans to the parting, cut off by the bangs.
        opening = self.width * (1.06 - 0.16 * self.long)
        lean = self.part * jnp.clip(0.1 - 2.2 * y, 0, 1.3)
        arch = _ellipse(x - lean, y - 0.30, opening, 0.72 - 0.03 * f.fringe)
        bangs = -0.38 + 0.08 * f.fringe - 0.5 * self.part * x - y
        throat = _box(x, y - 1.0, opening - 0.04, 0.80, 0.1)
        hole = _union(_intersection(arch, bangs, 0.08), throat, 0.05) + 0.008 * curls
        front = _intersection(self.mane, -hole, 0.05)
        image = _over(image, self.shade * 0.72, 0.55 * _ramp(0.08, 0.0, front) * self.fill(self.head))
        rx, ry = x - 1.2 * self.part, y + 0.55
        strands = _over(
            _wave(2.4 * rx / jnp.sqrt(rx * rx + ry * ry + 0.05)), curls, jnp.minimum(self.curl, 1)
        )
        sheen = _bell(self.hx - 0.14 * f.light, y + 0.56, 0.6, 0.22)
        tone = 0.91 + 0.06 * strands + 0.05 * self.lit - 0.15 * y
        return _over(image, self.hair * tone + 0.15 * sheen * (0.35 + self.hair), self.fill(front))

    def painted(self) -> Array:
        """Colour planes of shape (3, size, size), in [0, 1]."""
        image = self.background()
        for part in (
            self.hair_behind,
            self.body,
            self.face,
            self.nose,
            self.beard,
            self.mouth,
            self.eyes,
            self.brows,
            self.glasses,
            self.hair_in_front,
        ):
            image = part(image)
        return jnp.clip(image, 0, 1)


def draw_face(factors: Array, size: int) -> Array:
    """Draw one face; a pure JAX function, so `jax.vmap` draws many.

    Parameters
    ----------
    factors : Array
        One value for each of `FACTOR_NAMES`, in standard deviations, shape (n_factors,).
    size : int
        Height and width in pixels.

    Returns
    -------
    Array
        Image with values in [0, 1], shape (size, size, 3), float32.

    Raises
    ------
    ValueError
        If the factors are not those of one face.
    """
    if np.shape(factors) != (len(FACTOR_NAMES),):
        raise ValueError(f"factors: expected shape ({len(FACTOR_NAMES)},), one face; got {np.shape(factors)}")
    return jnp.moveaxis(_Portrait(factors, size).painted(), 0, -1)


@dataclass(frozen=True)
class ProceduralFaces:
    """Drawn faces and what they were drawn from.

    Attributes
    ----------
    images : np.ndarray
        sRGB images, shape (n, size, size, 3), uint8.
    factors : np.ndarray
        Standard normal factors with correlation `FACTOR_CORRELATION`, in the order of `FACTOR_NAMES`,
        shape (n, n_factors), float32.
    attributes : dict of str to np.ndarray
        What can be seen on each face, shape (n,), bool.
    """

    images: np.ndarray
    factors: np.ndarray
    attributes: dict[str, np.ndarray]


def _attributes(factors: np.ndarray) -> dict[str, np.ndarray]:
    factor = dict(zip(FACTOR_NAMES, factors.T, strict=True))
    return {
        "smiling": factor["smile"] > 0,
        "glasses": factor["glasses"] > _GLASSES_FROM,
        "beard": factor["beard"] > _BEARD_FROM,
        "long_hair": factor["hair_length"] > 0,
        "curly_hair": factor["hair_curl"] > _CURLS_FROM,
        "dark_hair": factor["hair_tone"] < 0,
        "bangs": factor["fringe"] > 0,
        "looking_left": factor["gaze"] < -0.5,
        "looking_right": factor["gaze"] > 0.5,
        "turned_left": factor["head_turn"] < -0.5,
        "turned_right": factor["head_turn"] > 0.5,
    }


@partial(jax.jit, static_argnames=("block", "size"))
def _draw_block(key: Array, start: ArrayLike, block: int, size: int) -> tuple[Array, Array]:
    """Factors (block, n_factors) and uint8 planes (block, 3, size, size) of the faces from row `start` on."""
    rows = start + jnp.arange(block, dtype=jnp.uint32)
    normals = jax.vmap(lambda row: jr.normal(jr.fold_in(key, row), (len(FACTOR_NAMES),), jnp.float32))(rows)
    factors = jnp.matmul(normals, _FACTOR_ROOT.T, precision=jax.lax.Precision.HIGHEST)
    planes = jax.vmap(lambda one: _Portrait(one, size).painted())(factors)
    return factors, (255 * planes + 0.5).astype(jnp.uint8)


def _checked_integer(name: str, value: int, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an integer of at least {least}; got {value!r}")
    if value < least:
        raise ValueError(f"{name}: expected an integer of at least {least}; got {value}")
    return int(value)


def procedural_faces(n: int, size: int = 64, *, key: Array) -> ProceduralFaces:
    """Draw colourful portraits from correlated, normally distributed factors.

    Face i depends on the key and i alone, not on n; its factors, but for rounding, not on the size either.

    Parameters
    ----------
    n : int
        Number of faces, at least 1.
    size : int, default 64
        Height and width in pixels, at least 16.
    key : Array
        Typed JAX key, such as ``jax.random.key(0)``.

    Returns
    -------
    ProceduralFaces
        Images (n, size, size, 3) as uint8, factors (n, n_factors), and attributes.

    Raises
    ------
    TypeError
        If n or size is not an integer, or the key is not a single typed JAX key.
    ValueError
        If n or size is too small.
    """
    n, size = _checked_integer("n", n, least=1), _checked_integer("size", size, least=16)
    if not (isinstance(key, Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ()):
        kind = f"{key.dtype} of shape {key.shape}" if isinstance(key, Array) else repr(key)
        raise TypeError(f"key: expected one typed JAX key, such as jax.random.key(0); got {kind}")
    # Threefry, whatever the kind of key: numbers of the rbg kind depend on the batch that they are drawn in.
    key = jr.wrap_key_data(jr.bits(key, (2,), jnp.uint32), impl="threefry2x32")

    # Blocks this small stay in the second-level cache: 16 faces of 64 pixels take 2/3 of the time of 64.
    block = max(1, 2**16 // size**2)
    images = np.empty((n, size, size, 3), np.uint8)
    factors = np.empty((n, len(FACTOR_NAMES)), np.float32)

    def draw(start: int) -> None:
        rows = slice(start, min(start + block, n))
        values, planes = map(np.asarray, _draw_block(key, np.uint32(start), block, size))
        factors[rows] = values[: n - start]
        images[rows] = np.moveaxis(planes[: n - start], 1, -1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # XLA runs elementwise code on one core
        for _ in pool.map(draw, range(0, n, block)):
            pass
    return ProceduralFaces(images, factors, _attributes(factors))
