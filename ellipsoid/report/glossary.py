"""Terms of the report, each explained in a sentence, and linked where the page uses it first."""

import re
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

#: Explanations by term, in the order of the page.
TERMS = {
    "latents": "The vectors that the encoder makes of images; the decoder makes images of them.",
    "principal component": "A direction in which latents vary, independently of the others as far as linear "
    "correlation goes; the first has the largest variance.",
    "scores": "The coordinates of latents along the principal components.",
    "half-width": "The standard deviation of a component as the chosen method reads it off the latents.",
    "law": "The distribution of draws inside the region: redraw, sequential, uniform or normal.",
    "level": "The half-width of every confidence ellipse, in standard deviations.",
    "confidence ellipse": "An ellipse in the plane of two components that holds a given share of a Gaussian.",
    "Mahalanobis": "The Mahalanobis distance is the distance from the centre in standard deviations, along "
    "all components together.",
    "distance correlation": "A measure of dependence of any kind between two components: 0 for none, 1 for a "
    "line.",
    "precision": "The share of generated images that lie among real ones: fidelity.",
    "recall": "The share of real images that lie among generated ones: diversity.",
    "Fréchet distance": "A distance between the Gaussians of two sets of image features; small is good.",
}


def linked(paragraphs: Sequence[str], seen: set[str]) -> list[Markup]:
    """Escape paragraphs, and link each term to its explanation where it occurs first.

    Parameters
    ----------
    paragraphs : sequence of str
        Plain text.
    seen : set of str
        Terms that were linked already; those that are linked here are added.
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
    """Anchor, term and explanation of each of these terms, in the order of `TERMS`."""
    terms = set(seen)
    return [(anchor(term), term, text) for term, text in TERMS.items() if term in terms]


def anchor(term: str) -> str:
    """Name of the place where a term is explained."""
    return re.sub(r"\W+", "-", term.casefold())
