"""Terms of the report, each explained in a sentence and linked at its first use on the page."""

import re
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

#: Explanations by term, in the order of the page.
TERMS = {
    "latents": "The vectors that the encoder computes from images. The decoder turns them back into images.",
    "principal component": "A direction of the latent space along which the latents vary, without linear "
    "correlation to the other components. The first one has the largest variance.",
    "scores": "The coordinates of latents along the principal components.",
    "half-width": "The standard deviation of a component, as estimated by the chosen method.",
    "region": "The set that draws stay in. The pairwise region lies inside the confidence ellipses of all "
    "pairs of components.",
    "law": "The distribution of draws inside the region: redraw, sequential, uniform or normal.",
    "level": "The size of the region: the semi-axes of its ellipses, in standard deviations.",
    "fact": "A factor on the level.",
    "confidence ellipse": "An ellipse in the plane of two components that holds a given share of a Gaussian.",
    "mixture": "A shape of several ellipsoids, each fitted to one group of latents.",
    "flow": "A learned reversible map from Gaussian coordinates to the latents. Its draws use the same "
    "region in these coordinates.",
    "Kolmogorov distance": "The largest difference between two cumulative distributions, from 0 to 1.",
    "Mahalanobis": "The Mahalanobis distance is the distance from the centre in standard deviations, along "
    "all components together.",
    "distance correlation": "A measure of any dependence between two components: 0 for independent "
    "components, 1 for points on a line.",
    "precision": "The share of generated images that lie among real ones: it measures fidelity.",
    "recall": "The share of real images that lie among generated ones: it measures diversity.",
    "F-score": "The harmonic mean of precision and recall.",
    "Fréchet distance": "A distance between two sets of image features, each described by its mean and "
    "covariance. Smaller is better.",
}


def linked(paragraphs: Sequence[str], seen: set[str]) -> list[Markup]:
    """Escape paragraphs, and link each term to its explanation where it occurs first.

    Parameters
    ----------
    paragraphs : sequence of str
        Plain text.
    seen : set of str
        Terms that are linked already. Terms that are linked here are added.
    """

    def link(found: re.Match[str]) -> str:
        term = next(term for term in TERMS if term.casefold() == found[1].casefold())
        if term in seen:
            return found[0]
        seen.add(term)
        return f'<a class="term" href="#term-{anchor(term)}">{found[0]}</a>'

    words = "|".join(re.escape(term) for term in sorted(TERMS, key=len, reverse=True))
    pattern = re.compile(rf"(?<![\w-])({words})(?:s|es)?(?![\w-])", re.IGNORECASE)
    return [Markup(pattern.sub(link, str(escape(paragraph)))) for paragraph in paragraphs]


def explained(seen: Iterable[str]) -> list[tuple[str, str, str]]:
    """Anchors, names and explanations of these terms, in the order of `TERMS`."""
    terms = set(seen)
    return [(anchor(term), term, text) for term, text in TERMS.items() if term in terms]


def anchor(term: str) -> str:
    """Anchor of the explanation of a term."""
    return re.sub(r"\W+", "-", term.casefold())
