"""The public names of each module, for the pages of the API.

A module states them in ``__all__``. Where it does not, they are those that a type checker takes for public:
in a package the names of ``import X as X``, in a module its own functions and classes without an underscore.
"""

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from sphinx.pycode import ModuleAnalyzer


def public_names(module: ModuleType) -> list[str]:
    """Public names of a module in the order in which it states them."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    tree = ast.parse(inspect.getsource(module))
    if hasattr(module, "__path__"):
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names = [alias.name for node in imports for alias in node.names if alias.name == alias.asname]
    else:
        names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return [name for name in names if not name.startswith("_")]


def state_public_names(modules: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Let every module state its public names in ``__all__``, where autosummary looks for them.

    A name has one page. Where two modules offer the same object, the first of them has its page.

    Parameters
    ----------
    modules : sequence of str
        Names of the modules.

    Returns
    -------
    dict of str to dict
        By module, ``constants``: their values and comments by name; and ``elsewhere``: the full names of
        objects that another module has the page of.
    """
    homes: dict[int, str] = {}
    pages = {}
    for module_name in modules:
        module = importlib.import_module(module_name)
        offered = {name: getattr(module, name) for name in public_names(module)}
        offered = {name: value for name, value in offered.items() if not inspect.ismodule(value)}
        constants = {name: value for name, value in offered.items() if not hasattr(value, "__qualname__")}
        elsewhere = [name for name, value in offered.items() if id(value) in homes and name not in constants]
        module.__all__ = [name for name in offered if name not in [*constants, *elsewhere]]
        pages[module_name] = {
            "constants": {name: (repr(value), _comment(name)) for name, value in constants.items()},
            "elsewhere": [homes[id(offered[name])] for name in elsewhere],
        }
        homes |= {id(offered[name]): f"{module_name}.{name}" for name in module.__all__}
    return pages


def _comment(name: str) -> str:
    """Comment that stands above the definition of a constant, marked by ``#:``."""
    for module_name in sorted(sys.modules):
        if module_name.startswith("ellipsoid."):
            analysis = ModuleAnalyzer.for_module(module_name)
            if re.search(rf"^#:.*\n(#.*\n)*{name}\b", analysis.code, flags=re.MULTILINE):
                return " ".join(analysis.find_attr_docs()["", name]).strip()
    return ""
