"""Checks of every figure: its text lies on the page and does not overlap."""

import itertools
from unittest import mock

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text


def drawn_texts(figure):
    """Give all texts of a figure, with their rectangles in pixels, as `figures.save` writes them."""
    texts, draw = {}, Text.draw

    def record(text, renderer):
        if text.get_visible() and text.get_text().strip():
            texts[text] = text.get_window_extent(renderer)
        return draw(text, renderer)

    with mock.patch.object(Text, "draw", record):
        FigureCanvasAgg(figure).draw()
    return list(texts.items())


def drawn_words(figure):
    """Give the words of the texts that a figure draws, in the order of drawing."""
    return [text.get_text() for text, _ in drawn_texts(figure)]


def assert_legible(figure):
    """Fail for text that is off the page, overlaps other text or is smaller than 6 points."""
    texts = drawn_texts(figure)
    page = figure.bbox.padded(1)
    for text, box in texts:
        assert page.x0 <= box.x0 < box.x1 <= page.x1, text
        assert page.y0 <= box.y0 < box.y1 <= page.y1, text
        assert text.get_fontsize() >= 6, text
    # The rectangle around slanted text is no measure of where it is.
    upright = [(text, box) for text, box in texts if text.get_rotation() % 90 == 0]
    for (one, box), (other, other_box) in itertools.combinations(upright, 2):
        assert not box.padded(-1).overlaps(other_box.padded(-1)), (one, other)


def correlated_latents():
    """Make 5,000 latents of 6 dimensions, away from the origin."""
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(6, 6)) * np.geomspace(3, 0.1, 6)
    return (rng.normal(size=(5000, 6)) @ mixing.T + 5).astype(np.float32)
