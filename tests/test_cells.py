import jax
import numpy as np
import pytest

import ellipsoid as el
from ellipsoid.cells import preformatted, table_of_rows

HOSTILE = "<script>alert(1)</script>"


def test_what_is_shown_is_text():
    table = table_of_rows(HOSTILE, [(HOSTILE, HOSTILE)])
    assert table.count("&lt;script&gt;") == 3
    assert "<script>" not in table + preformatted(HOSTILE)


@pytest.mark.slow
def test_shapes_and_draws_and_advice_show_themselves(make_state):
    state = make_state(3, 5)
    assert "<td>3 of 5</td>" in state._repr_html_()
    assert "<td>1,000</td>" in state._repr_html_()
    latents = np.random.default_rng(0).normal(size=(80, 3))
    mixture = el.fit_by_label(latents, np.where(latents[:, 0] > 0, "plain", HOSTILE))
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, plain" in mixture._repr_html_()
    assert "<td>2</td>" in mixture._repr_html_()
    draws = el.sample(el.key(0), state, 4)
    assert "<td>float32[4, 5]</td>" in draws._repr_html_()
    assert (
        "<caption>Recommendation for fidelity</caption>" in el.recommend(state, goal="fidelity")._repr_html_()
    )


def test_a_stack_of_states_and_tracers_show_themselves(make_state):
    states = jax.tree.map(lambda *leaves: np.stack(leaves), make_state(2), make_state(2))
    assert states._repr_html_().startswith("<pre>")
    seen = []
    jax.jit(lambda state: seen.append(state._repr_html_()))(make_state(2))
    assert seen[0].startswith("<pre>")


def test_images_of_draws(make_state):
    state = make_state(3, 12)
    draws = el.sample(el.key(0), state, 30)

    def decode(latents):
        return np.tanh(latents).reshape(-1, 2, 2, 3)

    figure = el.images_of(draws, decode, columns=6, pixel_range=(-1, 1))
    shown = figure.axes[0].images[0].get_array()
    expected = np.round(127.5 * (1 + decode(np.asarray(draws.latents))))
    times = round(200 / 2)
    for index in (0, 23):
        tile = np.abs(shown.astype(float) - expected[index, 0, 0]).max(axis=-1) <= 1
        assert tile.sum() > times
    assert shown.shape[0] < shown.shape[1]  # four rows of six
    with pytest.raises(ValueError, match="decode: expected floats in"):
        el.images_of(draws, decode)
    with pytest.raises(ValueError, match="draws: expected draws, or latents"):
        el.images_of(np.zeros(12), decode)
    with pytest.raises(ValueError, match="n: expected"):
        el.images_of(draws, decode, n=0)
