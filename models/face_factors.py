"""The factors of a drawn face, normal and correlated, and the attributes that they show."""

from typing import NamedTuple

import numpy as np
from jax import Array


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
FACTOR_ROOT = np.linalg.cholesky(FACTOR_CORRELATION).astype(np.float32)

# Values at which a feature begins to show, in standard deviations.
BEARD_FROM, GLASSES_FROM, CURLS_FROM = 0.6, 0.65, 0.85


def attributes_of(factors: np.ndarray) -> dict[str, np.ndarray]:
    """Return the visible attributes of faces with factors ``(n, n_factors)``, each as booleans ``(n,)``."""
    factor = dict(zip(FACTOR_NAMES, factors.T, strict=True))
    return {
        "smiling": factor["smile"] > 0,
        "glasses": factor["glasses"] > GLASSES_FROM,
        "beard": factor["beard"] > BEARD_FROM,
        "long_hair": factor["hair_length"] > 0,
        "curly_hair": factor["hair_curl"] > CURLS_FROM,
        "dark_hair": factor["hair_tone"] < 0,
        "bangs": factor["fringe"] > 0,
        "looking_left": factor["gaze"] < -0.5,
        "looking_right": factor["gaze"] > 0.5,
        "turned_left": factor["head_turn"] < -0.5,
        "turned_right": factor["head_turn"] > 0.5,
    }
