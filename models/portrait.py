"""The painting of one face, one feature over another.

Shapes are signed distance functions, negative inside, in a frame with x to the right and y down; the head is
about 1.1 wide and 1.2 high. Their edges are antialiased over one pixel, so the same face can be drawn at any
size. Optional features (glasses, a beard, curls) grow from nothing as their factor passes a threshold, which
keeps the images continuous in the factors.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from ellipsoid.models.face_factors import BEARD_FROM, CURLS_FROM, GLASSES_FROM, Factors

_PALETTES = {  # sRGB
    "skin": "ffe0cc f6cbaa e0aa7e b27854 7a4f3a",
    "hair": "282025 3c2a26 583a2b 825030 ac6a3a d4a05e f0d08c",
    "iris": "4a2e1e 78542c 5c8454 508cb2 7aa4c8",
    "wall": "a6cec6 accade c2c0de e2c2cc f0d4b4",
    "cloth": "d8a85c cc665a 845274 3e4c76 387882 709068",
}


def _rgb(red: float, green: float, blue: float) -> Array:
    """Return a colour of shape (3, 1, 1), to combine with planes of shape (1, size, size)."""
    return jnp.array([red, green, blue], jnp.float32)[:, None, None]


def _along(palette: str, factor: Array) -> Array:
    """Return a colour on a palette; the sigmoid spreads a standard normal factor about evenly along it."""
    colours = np.frombuffer(bytes.fromhex(_PALETTES[palette]), np.uint8).reshape(-1, 3) / np.float32(255)
    steps = np.arange(len(colours), dtype=np.float32)
    weights = jnp.maximum(0, 1 - jnp.abs(jax.nn.sigmoid(1.6 * factor) * steps[-1] - steps))
    return (weights @ colours)[:, None, None]


def _over(image: Array, colour: Array | float, cover: Array) -> Array:
    """Paint a colour over the part `cover` of each pixel."""
    return image + cover * (colour - image)


# Below, polynomials replace bells and waves. Drawing consists of such functions alone, and on the CPU an
# exponential costs about 10 times, and a cosine 50 times, as much as a square root.


def _norm(x: Array, y: Array) -> Array:
    return jnp.sqrt(x * x + y * y + 1e-9)  # this keeps gradients finite at the origin


def _ellipse(x: Array, y: Array, width: Array | float, height: Array | float) -> Array:
    """Return the distance to an ellipse with these semi-axes, exact to first order at its edge."""
    u, v = x / width, y / height
    level = jnp.sqrt(u * u + v * v + 1e-6)
    slope = jnp.sqrt((u / width) ** 2 + (v / height) ** 2 + 1e-6)
    return level * (level - 1) / slope


def _box(x: Array, y: Array, width: Array | float, height: Array | float, radius: float) -> Array:
    """Return the distance to a box with these half widths and rounded corners."""
    x, y = jnp.abs(x) - width + radius, jnp.abs(y) - height + radius
    return _norm(jnp.maximum(x, 0), jnp.maximum(y, 0)) + jnp.minimum(jnp.maximum(x, y), 0) - radius


def _stroke(x: Array, y: Array, half: Array | float) -> Array:
    """Return the distance to the segment |x| <= half; with y measured from a flat curve, to that curve."""
    return _norm(jnp.maximum(jnp.abs(x) - half, 0), y)


def _union(a: Array, b: Array, blend: float) -> Array:
    """Return the minimum of two distances, rounded where they differ by less than `blend`."""
    overlap = jnp.maximum(blend - jnp.abs(a - b), 0)
    return jnp.minimum(a, b) - overlap * overlap / (4 * blend)


def _intersection(a: Array, b: Array, blend: float) -> Array:
    return -_union(-a, -b, blend)


def _ramp(low: float, high: float, value: Array) -> Array:
    """Smooth step from 0 at `low` to 1 at `high`."""
    t = jnp.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _bell(x: Array, y: Array, width: Array | float, height: Array | float) -> Array:
    """Soft spot, 1 at its centre and 0 outside the ellipse."""
    inside = jnp.maximum(1 - (x / width) ** 2 - (y / height) ** 2, 0)
    return inside * inside


def _wave(t: Array) -> Array:
    """Approximate cos(2 pi t) within 0.02."""
    fold = 2 * jnp.abs(t - jnp.round(t))
    return 1 - 2 * fold * fold * (3 - 2 * fold)


def _softly_limited(factors: Array | float) -> Array:
    """Limit factors to 2.6 standard deviations, so that extreme faces remain faces."""
    return 2.6 * jnp.tanh(jnp.asarray(factors, jnp.float32) / 2.6)


def _excess(factor: Array, threshold: float) -> Array:
    """Return the amount by which a softly limited factor exceeds a threshold that is not limited."""
    return jnp.maximum(factor - _softly_limited(threshold), 0)


class Portrait:
    """One face: the proportions that its features share, and the features, each painted over an image.

    A proportion such as `0.52 + 0.03 * f.head_width` consists of its mean and the effect of one standard
    deviation. Coordinates are x, y of the picture; hx, hy of the head; fx across the face from its middle, ax
    its absolute value; ex, ey from the centre of the eye on that side.
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

        # The head tilts about the neck, by angles small enough for sin a = a. When it turns, features of the
        # face (fx) slide over a round surface, which narrows the far side.
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
        self.curl = 0.5 * jax.nn.softplus(2 * (f.hair_curl - _softly_limited(CURLS_FROM)))
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

    def _fill(self, distance: Array) -> Array:
        """Return the cover of a shape, the part of each pixel that lies inside."""
        return jnp.clip(0.5 - distance / self.pixel, 0, 1)

    def _line(self, distance: Array, half: Array | float) -> Array:
        """Return the cover of a line with this half width; below a pixel it is faint, not broken."""
        distance, half = jnp.abs(distance) / self.pixel, half / self.pixel
        return jnp.clip(distance + 0.5, -half, half) - jnp.clip(distance - 0.5, -half, half)

    def _background(self) -> Array:
        wall = _along("wall", self.f.background)
        glow = _bell(self.x - 0.3 * self.f.light, self.y + 0.15, 1.5, 1.5)
        return wall * (0.97 - 0.10 * self.y) + 0.35 * glow * (1 - wall)

    def _hair_behind(self, image: Array) -> Array:
        return _over(image, self.hair * 0.62, self._fill(self.mane))

    def _body(self, image: Array) -> Array:
        f, x, y = self.f, self.x, self.y
        neck_width = 0.21 + 0.012 * f.head_width + 0.02 * f.jaw_width
        neck = _box(x, y - 0.75, neck_width, 0.40, 0.05)
        bust = self._fill(_union(_ellipse(x, y - 1.17, 0.84 + 0.03 * f.jaw_width, 0.42), neck, 0.22))
        under_chin = _ramp(0.12, -0.06, _ellipse(self.hx, self.hy - 0.36, self.jaw, 0.385))
        image = _over(image, _over(self.skin, self.shade, 0.3 + 0.7 * under_chin), bust)
        cloth = _along("cloth", f.clothes)
        neckline = jnp.minimum(_ellipse(x, y - 0.73, neck_width + 0.09, 0.14), y - 0.73)
        image = _over(image, cloth * (1.25 - 0.25 * y + 0.10 * f.light * x), bust * self._fill(-neckline))
        return _over(image, cloth * 0.8, bust * self._line(neckline, 0.014))

    def _face(self, image: Array) -> Array:
        ear = jnp.abs(self.hx + 0.5 * self.turn) - self.width + 0.08 * self.long
        outer = self._fill(_ellipse(ear, self.hy - 0.10, 0.085, 0.13))
        inner = self._fill(_ellipse(ear - 0.015, self.hy - 0.095, 0.035, 0.065))
        image = _over(image, _over(self.skin, self.shade, 0.35 + 0.5 * inner), outer)
        rounding = _ramp(-0.25, 0.0, self.head)
        shading = jnp.clip(0.12 + 0.32 * rounding * (1 - 0.5 * self.lit) - 0.12 * self.lit, 0, 1)
        blush = (0.45 + 0.08 * self.f.smile) * _bell(self.ax - 0.29, self.hy - 0.24, 0.24, 0.18)
        skin = _over(self.skin * 1.03, self.shade, shading)
        return _over(image, _over(skin, self.skin * _rgb(1.0, 0.64, 0.60), blush), self._fill(self.head))

    def _nose(self, image: Array) -> Array:
        light, width = self.f.light, 0.10 + 0.028 * self.f.nose_width
        x, y = self.fx - 0.35 * self.turn, self.hy - self.nose_length
        image = _over(image, self.shade, 0.35 * _bell(x + 0.035 * light, y + 0.10, 0.09, 0.22))
        image = _over(image, self.skin + 0.12, 0.5 * _bell(x - 0.012 * light, y + 0.01, width, 0.09))
        wings = _ellipse(jnp.abs(x) - 0.72 * width, y - 0.005, 0.38 * width, 0.036)
        image = _over(image, self.shade, 0.75 * _ramp(0.02, -0.03, wings))
        base = _stroke(x, y - 0.038 + 0.03 * (x / width) ** 2, 0.8 * width)
        return _over(image, self.shade * 0.74, self._line(base, 0.016))

    def _beard(self, image: Array) -> Array:
        growth = _excess(self.f.beard, BEARD_FROM)
        chin = _ellipse(self.hx - 0.3 * self.turn, self.hy - 0.36, 0.95 * self.jaw, 0.30 + 0.05 * growth)
        bare = _ellipse(self.hx - 0.8 * self.turn, self.hy + 0.02, 0.86 * self.width, 0.31)
        whiskers = _ramp(-0.05, 0.05, bare) * _ramp(-0.05, 0.2, self.hy)
        t = jnp.minimum(self.ax / self.mouth_width, 1.5)
        moustache = _stroke(self.ax, self.hy - self.mouth_y + 0.06 - 0.05 * t * t, self.mouth_width)
        cover = jnp.maximum(
            whiskers * self._fill(_union(self.head, chin, 0.15)), _ramp(0.055, 0.015, moustache)
        )
        return _over(image, self.hair * (0.72 + 0.06 * self.lit), jnp.minimum(2 * growth, 0.94) * cover)

    def _mouth(self, image: Array) -> Array:
        half, smile, lips = self.mouth_width, self.smile, self.f.lips
        arch = 1 - (self.fx / half) ** 2
        gape = 0.03 * jax.nn.softplus(3 * (smile - 1.4))
        upper = self.mouth_y - self.hy + (0.038 * smile - 0.15 * gape) * arch - 0.015 * smile
        lower = -upper - gape * arch
        gap, within = jnp.maximum(upper, lower), self._fill(self.ax - half)
        plump = (0.040 + 0.014 * lips) * arch
        outline = jnp.maximum(upper - 0.7 * plump, lower - 1.2 * plump)
        image = _over(image, self.lip, jnp.clip(0.55 + 0.2 * lips, 0.1, 1) * self._fill(outline) * within)
        opened = jnp.minimum(gape / 0.02, 1) * within
        image = _over(image, _rgb(0.36, 0.13, 0.15), self._fill(gap) * opened)
        teeth = jnp.maximum(jnp.maximum(gap, -upper - 0.55 * gape), self.ax - 0.88 * half)
        image = _over(image, _rgb(0.98, 0.97, 0.95), self._fill(teeth) * opened)
        return _over(image, self.lip * 0.45, self._line(upper, 0.013 * jnp.clip(0.5 + arch, 0, 1)))

    def _eyes(self, image: Array) -> Array:
        f, size, ex, ey = self.f, self.eye_size, self.ex, self.ey
        outward = jnp.where(self.fx > 0, 1.0, -1.0)
        image = _over(image, self.shade, 0.35 * _bell(ex, ey + 0.03, 2.4 * size, 1.8 * size))
        white = _ellipse(ex, ey, 1.12 * size, (0.88 - 0.04 * f.smile) * size)
        image = _over(image, 0.98 - 0.16 * _ramp(0.03, -0.1, ey), self._fill(white))
        ix = ex - outward * 0.24 * size * f.gaze
        radius = _norm(ix, ey)
        iris = _along("iris", f.eye_colour) * (1 + 0.3 * jnp.clip(ey / size, -1, 1))
        image = _over(image, iris, self._fill(jnp.maximum(radius - 0.70 * size, white)))
        image = _over(image, 0.5 * self.ink, self._fill(jnp.maximum(radius - 0.40 * size, white)))
        glint = _norm(ix - outward * 0.12 * size * f.light, ey + 0.28 * size) - 0.20 * size
        image = _over(image, 1.0, self._fill(glint))
        lashes = _norm(jnp.maximum(ey, 0), white)
        return _over(image, self.ink, self._line(lashes, 0.015 + 0.003 * f.lips))

    def _brows(self, image: Array) -> Array:
        f, half = self.f, 1.25 * self.eye_size
        t = jnp.clip(self.ex / half, -1.5, 1.5)
        height = 0.155 + 0.4 * self.eye_size + 0.026 * f.brow_height
        curve = self.ey + height - 0.025 * (1 - f.brow_tilt) * t - 0.035 * t * t
        thickness = (0.026 + 0.0080 * f.brow_thickness) * (1 - 0.3 * t)
        return _over(image, self.hair * 0.62, self._line(_stroke(self.ex, curve, half), thickness))

    def _glasses(self, image: Array) -> Array:
        rim = 0.03 * jnp.minimum(_excess(self.f.glasses, GLASSES_FROM), 0.9)
        lens = _box(self.ex + 0.005, self.ey - 0.015, 0.18, 0.16, 0.12)
        image = _over(image, 1.0, jnp.minimum(14 * rim, 0.14) * self._fill(lens))
        bridge = _stroke(self.ax, self.ey + 0.03, self.eye_spacing - 0.175)
        arm = jnp.maximum(_stroke(self.ex - 0.475, self.ey + 0.02, 0.3), self.head)
        return _over(image, self.ink, self._line(jnp.minimum(jnp.minimum(jnp.abs(lens), bridge), arm), rim))

    def _hair_in_front(self, image: Array) -> Array:
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
        image = _over(image, self.shade * 0.72, 0.55 * _ramp(0.08, 0.0, front) * self._fill(self.head))
        rx, ry = x - 1.2 * self.part, y + 0.55
        strands = _over(
            _wave(2.4 * rx / jnp.sqrt(rx * rx + ry * ry + 0.05)), curls, jnp.minimum(self.curl, 1)
        )
        sheen = _bell(self.hx - 0.14 * f.light, y + 0.56, 0.6, 0.22)
        tone = 0.91 + 0.06 * strands + 0.05 * self.lit - 0.15 * y
        return _over(image, self.hair * tone + 0.15 * sheen * (0.35 + self.hair), self._fill(front))

    def painted(self) -> Array:
        """Return colour planes of shape (3, size, size), in [0, 1]."""
        image = self._background()
        for paint in (
            self._hair_behind,
            self._body,
            self._face,
            self._nose,
            self._beard,
            self._mouth,
            self._eyes,
            self._brows,
            self._glasses,
            self._hair_in_front,
        ):
            image = paint(image)
        return jnp.clip(image, 0, 1)
