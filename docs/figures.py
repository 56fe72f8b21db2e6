"""Draw the figures of the guide into ``docs/images``.

    python docs/figures.py RUN

RUN is a run folder as ``ellipsoid demo`` makes it: the pictures of faces come from its decoder.
"""

import sys
from pathlib import Path

import jax
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from sklearn.datasets import make_moons

import ellipsoid as el
from ellipsoid import figures
from ellipsoid.figures.style import BLUE, GREY, INK, LINES, VERMILLION, finish, new_figure
from ellipsoid.models import decode_function
from ellipsoid.runs import load_run
from ellipsoid.velocity import END, push

IMAGES = Path(__file__).parent / "images"
EDGE = np.sqrt(0.5)
LAWS = ("redraw", "sequential", "uniform", "normal")


def unit_state(k):
    """Give one ellipsoid whose scores are the latents, with standard deviation 1."""
    rng = np.random.default_rng(0)
    state = el.fit(rng.normal(size=(4 * k, k)))
    ones = np.ones(k, np.float32)
    fields = (np.zeros(k, np.float32), np.eye(k, dtype=np.float32), ones, ones, ones / k)
    return type(state)(*map(jax.numpy.asarray, fields), n_samples=4 * k)


def region():
    """Draw cube and spikes, for two and three components."""
    figure = new_figure(3.4, None)
    flat = figure.add_subplot(1, 2, 1)
    flat.add_patch(Circle((0, 0), 1, facecolor=VERMILLION, alpha=0.35, edgecolor="none"))
    flat.add_patch(Rectangle((-EDGE, -EDGE), 2 * EDGE, 2 * EDGE, facecolor="white", edgecolor="none"))
    flat.add_patch(
        Rectangle((-EDGE, -EDGE), 2 * EDGE, 2 * EDGE, facecolor=BLUE, alpha=0.45, edgecolor="none")
    )
    flat.add_patch(Circle((0, 0), 1, fill=False, edgecolor=INK, linewidth=1.2))
    flat.text(0, 0, "cube", ha="center", va="center", fontsize=10)
    for x, y, turn in ((0.85, 0, 90), (-0.85, 0, 90), (0, 0.85, 0), (0, -0.85, 0)):
        flat.text(x, y, "spike", ha="center", va="center", fontsize=8, rotation=turn)
    flat.set_aspect("equal")
    flat.set_xlim(-1.1, 1.1)
    flat.set_ylim(-1.1, 1.1)
    finish(
        flat, "component 1, normalised", "component 2, normalised", "two components: the ellipse of the pair"
    )

    solid = figure.add_subplot(1, 2, 2, projection="3d", computed_zorder=False)
    draw_pieces(solid)
    solid.set_box_aspect((1, 1, 1), zoom=1.5)
    solid.view_init(20, -55)
    solid.set_axis_off()
    solid.set_title("three components: spikes moved off the cube", fontsize=9, color=INK)
    return figure


def draw_pieces(solid):
    """Draw the cube, and the spikes a little way off, from the far ones to the near ones."""
    apart, camera = 0.6, np.array([0.54, -0.77, 0.34])
    angle, share = np.meshgrid(np.linspace(np.pi / 4, np.pi / 2, 40), np.linspace(-1, 1, 21))
    bases = np.array(np.meshgrid([-EDGE, EDGE], [-EDGE, EDGE]))

    def spike(axis, sign):
        others = [other for other in range(3) if other != axis]
        walls = [(wall, end) for wall in range(2) for end in (-1, 1)]
        for wall, end in sorted(walls, key=lambda side: side[1] * camera[others[side[0]]]):
            across = [share * np.cos(angle), share * np.cos(angle)]
            across[wall] = end * np.cos(angle)
            surface = np.insert(np.array(across), axis, sign * (np.sin(angle) + apart), axis=0)
            light = 0.9 + 0.1 * end * np.sign(camera[others[wall]]) - 0.12 * wall
            solid.plot_surface(*surface, color=pale(VERMILLION, light), shade=False, antialiased=False)
        if sign * camera[axis] < 0:  # only then is its base seen
            face = np.insert(bases, axis, sign * (EDGE + apart), axis=0)
            solid.plot_surface(*face, color=pale(VERMILLION, 0.82), shade=False)

    for axis in range(3):
        spike(axis, -int(np.sign(camera[axis])))
    for axis in range(3):
        face = np.insert(bases, axis, np.sign(camera[axis]) * EDGE, axis=0)
        solid.plot_surface(*face, color=pale(BLUE, 1 - 0.06 * axis), shade=False, edgecolor="white")
    for axis in (0, 1, 2):
        spike(axis, int(np.sign(camera[axis])))


def pale(colour, light):
    """Mix a colour with white, and darken it."""
    return light * (0.45 * np.array(mpl.colors.to_rgb(colour)) + 0.55)


def coverage():
    """Plot the share of a Gaussian that meets all pair conditions, against the number of components."""
    figure = new_figure(3.1, None)
    axes = figure.add_subplot()
    components = np.unique(np.round(np.geomspace(2, 512, 60)).astype(int))
    for level, style in zip((1.645, 2.35, 3, 4, 5), LINES, strict=False):
        shares = [el.joint_coverage(level, int(k)) for k in components]
        axes.plot(
            components,
            shares,
            label=f"level {level:g}: one pair {100 * el.pair_coverage(level):.4g} %",
            **style,
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks([2, 8, 32, 128, 512], ["2", "8", "32", "128", "512"])
    axes.set_ylim(0, 1.02)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    finish(axes, "number of components K", "share of a Gaussian inside", None)
    return figure


def laws():
    """Show four distributions in one region, seen in one plane and by their distance from the mean."""
    k, level, n = 64, 1.645, 4000
    state = unit_state(k)
    scores = {law: np.asarray(el.sample(el.key(0), state, n, law=law, level=level).scores) for law in LAWS}
    figure = new_figure(4.3, None)
    grid = figure.add_gridspec(2, 4, height_ratios=(1, 0.95))
    for place, (law, y) in enumerate(scores.items()):
        axes = figure.add_subplot(grid[0, place])
        axes.scatter(*y[:1500, :2].T, s=1.5, color=LINES[place]["color"], linewidths=0, rasterized=True)
        axes.add_patch(Circle((0, 0), level, fill=False, edgecolor=INK, linewidth=0.9))
        axes.set_aspect("equal")
        axes.set_xlim(-1.8, 1.8)
        axes.set_ylim(-1.8, 1.8)
        axes.set_xticks([-1, 0, 1])
        axes.set_yticks([-1, 0, 1] if place == 0 else [])
        finish(axes, "score 1", "score 2" if place == 0 else "", law)
    axes = figure.add_subplot(grid[1, :])
    edges = np.linspace(0, 1.25, 126)
    for style, (law, y) in zip(LINES, scores.items(), strict=False):
        heights = np.histogram(np.sqrt(np.mean(y**2, axis=1)), edges, density=True)[0]
        axes.plot((edges[1:] + edges[:-1]) / 2, heights, label=law, **style)
    axes.axvline(1, color=GREY, linewidth=1)
    axes.text(0.99, axes.get_ylim()[1] * 0.92, "the latents", fontsize=8, ha="right", color="0.4")
    axes.set_yticks([])
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    finish(axes, "distance from the mean: root mean square score, in standard deviations", "draws", None)
    return figure


def crescents(n, seed=0):
    """Make latents in two crescents."""
    return make_moons(n, noise=0.08, random_state=seed)[0] @ np.array([[1.3, 0.2], [-0.2, 1.1]])


def shapes(flow):
    """Show one ellipsoid, a mixture and a flow, fitted to the same latents."""
    latents = crescents(4000)
    draws = {
        "training latents": latents,
        "one ellipsoid": el.sample(el.key(1), el.fit(latents), 2000, level=1.645).latents,
        "mixture of 12": el.sample(
            el.key(1), el.fit_mixture(latents, 12), 2000, law="normal", level=3
        ).latents,
        "flow": el.sample(el.key(1), flow, 2000, law="normal", level=3).latents,
    }
    figure = new_figure(1.35, None)
    for place, (name, z) in enumerate(draws.items()):
        axes = figure.add_subplot(1, 4, place + 1)
        axes.scatter(*latents[:1500].T, s=2, color="0.85", linewidths=0, rasterized=True)
        if place:
            axes.scatter(*np.asarray(z).T, s=2, color=BLUE, linewidths=0, rasterized=True)
        else:
            axes.scatter(*latents[:1500].T, s=2, color="0.45", linewidths=0, rasterized=True)
        axes.set_aspect("equal")
        axes.set_xticks([])
        axes.set_yticks([])
        finish(axes, "", "", name)
    return figure


def flow_steps(flow):
    """Show normal points on their way along the field of a flow."""
    x0 = jax.random.normal(el.key(3), (3000, 2))
    figure = new_figure(1.75, None)
    n_panels = 5
    for place in range(n_panels):
        # A field that ends earlier is reached by following the whole one for fewer steps.
        points = follow(flow, x0, place * flow.n_steps // (n_panels - 1))
        axes = figure.add_subplot(1, n_panels, place + 1)
        axes.scatter(*np.asarray(points).T, s=1.5, color=BLUE, linewidths=0, rasterized=True)
        axes.set_aspect("equal")
        axes.set_xlim(-3.2, 3.2)
        axes.set_ylim(-3.2, 3.2)
        axes.set_xticks([])
        axes.set_yticks([])
        finish(axes, "", "", f"angle {90 * place / (n_panels - 1):g}°")
    return figure


def follow(flow, x0, count):
    """Find points after the first `count` of a flow's steps, by Heun's method."""
    w, h = x0, END / flow.n_steps
    for step in range(count):
        begin, end = (flow.velocity.embed(jax.numpy.float32((step + i) * h), flow.condition) for i in (0, 1))
        first = flow.velocity(w, begin)
        w = w + h / 2 * (first + flow.velocity(w + h * first, end))
    if count == flow.n_steps:
        np.testing.assert_allclose(w, push(flow.velocity, flow.condition, x0, flow.n_steps), atol=1e-4)
    return w


def precision_and_recall():
    """Show one idea from both sides: points within the neighbourhoods of other points."""
    rng = np.random.default_rng(4)
    real, drawn = rng.normal(size=(26, 2)) * [1.5, 0.8], rng.normal(size=(26, 2)) * [0.7, 0.7] + [0.7, 0.3]
    drawn[:5] = rng.normal(size=(5, 2)) * 0.35 + [2.6, 1.9]
    figure = new_figure(2.9, None)
    sides = (
        ("precision: share of draws near real points", real, drawn, BLUE, VERMILLION),
        ("recall: share of real points near draws", drawn, real, VERMILLION, BLUE),
    )
    for place, (title, centres, points, colour, other) in enumerate(sides):
        axes = figure.add_subplot(1, 2, place + 1)
        apart = np.linalg.norm(centres[:, None] - centres, axis=-1)
        radii = np.sort(apart, axis=1)[:, 3]
        for centre, radius in zip(centres, radii, strict=True):
            axes.add_patch(Circle(centre, radius, facecolor=colour, alpha=0.09, edgecolor="none"))
        inside = (np.linalg.norm(points[:, None] - centres, axis=-1) <= radii).any(axis=1)
        axes.scatter(*centres.T, s=12, color=colour, linewidths=0)
        axes.scatter(*points[inside].T, s=26, color=other, marker="^", linewidths=0)
        axes.scatter(*points[~inside].T, s=26, edgecolors=other, facecolors="white", marker="^")
        axes.set_aspect("equal")
        axes.set_xlim(-4.2, 4.2)
        axes.set_ylim(-2.6, 3.0)
        axes.set_xticks([])
        axes.set_yticks([])
        finish(axes, f"{inside.sum()} of {len(points)} inside", "", title)
    return figure


def levels(run):
    """Decode the same ten draws at five levels."""
    decode, k = decode_function(run.autoencoder), run.state.n_components
    rows, names = [], []
    for level, name in (
        (0.8, "level 0.8"),
        (1.645, "level 1.645\nthe default"),
        (2.35, "level 2.35"),
        (el.matched_level(k), f"level {el.matched_level(k):.2f}\nas varied as the latents"),
        (4.5, "level 4.5"),
    ):
        rows.append(decode(np.asarray(el.sample(el.key(5), run.state, 10, level=level).latents)))
        names.append(name)
    return figures.strips(rows, names)


def save(name, figure, dpi=160):
    """Write a figure on white, as every theme of the site shows it."""
    path = IMAGES / f"{name}.png"
    figure.savefig(path, dpi=dpi, facecolor="white", metadata={"Software": None})
    print(path)


def main(folder):
    """Draw all."""
    run = load_run(folder)
    flow = el.fit_flow(crescents(4000), steps=3000, width=96, depth=3)
    drawn: dict[str, Figure] = {
        "region": region(),
        "coverage": coverage(),
        "laws": laws(),
        "shapes": shapes(flow),
        "flow": flow_steps(flow),
        "precision-recall": precision_and_recall(),
        "levels": levels(run),
    }
    for name, figure in drawn.items():
        save(name, figure)


if __name__ == "__main__":
    main(*sys.argv[1:])
