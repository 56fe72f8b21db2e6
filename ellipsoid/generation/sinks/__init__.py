"""Where the rows of a large batch go: arrays, image files, archives, tables, or a function."""

from ellipsoid.generation.sinks.base import *  # noqa: F403
