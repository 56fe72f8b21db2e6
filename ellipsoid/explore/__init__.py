"""A page on which a person explores the space of latents: sliders, draws, own pictures, paths.

The room can be called: ``ellipsoid.explore(run)`` shows the page in the cell of a notebook. It loads its
server only then.
"""

import sys
from types import ModuleType
from typing import Any


class _Room(ModuleType):
    """Package that is called as the function of the same name in it."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Explore a run or a shape; see :func:`ellipsoid.explore.notebook.explore`."""
        from ellipsoid.explore.notebook import explore

        return explore(*args, **options)


# The name of the room is that of its function, and the import of any module in the room binds it to the room.
sys.modules[__name__].__class__ = _Room
