"""A page to explore a latent space by sliders, draws, pictures and paths.

This package can be called: ``ellipsoid.explore(run)`` shows the page in the cell of a notebook. The server is
loaded only then.
"""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """Package that can be called like its function of the same name."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Explore a run or a shape; see :func:`ellipsoid.explore.notebook.explore`."""
        from ellipsoid.explore.notebook import explore

        return explore(*args, **options)


# Package and function share one name, and the import of any module in the package binds the name to the
# package.
sys.modules[__name__].__class__ = _Room
