"""The chapters of a report: each a function of a :class:`~ellipsoid.report.study.Study`.

A chapter returns a :class:`~ellipsoid.report.page.Section`, or None if the study lacks the inputs for it. To
add one, write its function in one of these modules, and add it to `CHAPTERS`.
"""

from collections.abc import Callable

from ellipsoid.report.chapters import (
    attributes,
    autoencoder,
    components,
    draws,
    evaluation,
    images,
    ladder,
    normality,
    pairs,
    principal_frame,
    region,
    walks,
)
from ellipsoid.report.page import Section
from ellipsoid.report.study import Study

#: All chapters, in the order of the page.
CHAPTERS: tuple[Callable[[Study], Section | None], ...] = (
    ladder.ladder,
    images.new_images,
    evaluation.evaluation,
    region.without_the_region,
    components.components,
    region.location,
    pairs.correlations,
    pairs.ellipses,
    normality.normality,
    principal_frame.principal_frame,
    pairs.dependence,
    draws.draws_and_data,
    walks.walks,
    attributes.attributes,
    autoencoder.autoencoder,
    autoencoder.neighbours,
)
