"""The rooms and who may import whom: arrows point one way, and the core stays light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

GROUND = {
    "archive",
    "blocks",
    "cells",
    "checks",
    "files",
    "forks",
    "holding",
    "lazy",
    "optimizer",
    "pixels",
    "progress",
    "provenance",
    "trees",
    "version",
}
ROOMS = {
    "cli",
    "diagnostics",
    "evaluation",
    "explore",
    "figures",
    "generation",
    "metrics",
    "models",
    "report",
}
OUTSIDE_THE_CORE = {"__main__", "demo", "estimator", "run_directions", "runs", "workflows"}

# Rooms and modules that each room may import besides itself. Every room may import the core and the ground
# floor.
ALLOWED = {
    "ground": set(),
    "core": {"ground"},
    "estimator": set(),
    "figures": set(),
    "metrics": set(),
    "generation": set(),
    "diagnostics": {"metrics"},
    "runs": {"models"},
    "run_directions": {"models", "runs"},
    "models": {"runs", "metrics"},
    "evaluation": {"diagnostics", "figures", "metrics", "models", "runs"},
    "report": {"diagnostics", "evaluation", "figures", "metrics", "models", "runs"},
    "explore": {"figures", "models", "run_directions", "runs", "workflows"},
    "demo": {"evaluation", "models", "report", "run_directions", "runs"},
    "workflows": {"evaluation", "generation", "models", "runs"},
    "cli": {
        "run_directions",
        "workflows",
        "demo",
        "diagnostics",
        "evaluation",
        "explore",
        "figures",
        "generation",
        "metrics",
        "models",
        "report",
        "runs",
    },
    "__main__": {"cli"},
}
# Modules above the core that import the models only inside functions.
MODELS_AT_POINT_OF_USE = {"runs", "run_directions", "report", "evaluation", "explore", "workflows"}

HEAVY = {
    "flax",
    "matplotlib",
    "sklearn",
    "orbax",
    "rich",
    "optax",
    "tyro",
    "jinja2",
    "PIL",
    "starlette",
    "uvicorn",
}


def modules():
    """Give the files of all modules, by their dotted names."""
    files = {}
    for folder, prefix in (("ellipsoid", ()), ("models", ("ellipsoid",))):
        for path in (ROOT / folder).rglob("*.py"):
            parts = (*prefix, *path.relative_to(ROOT).with_suffix("").parts)
            if parts[:2] == ("ellipsoid", "models") and folder == "ellipsoid":
                continue  # the same files, seen through the link
            files[".".join(part for part in parts if part != "__init__")] = path
    return files


MODULES = modules()


def imports(path, *, nested=True):
    """Give the modules that a file imports, inside functions too; imports for the type checker don't count.

    They do count in a package that loads on first use the names that it states for the type checker.
    """
    found = set()
    is_lazy = "load_on_first_use" in path.read_text() and path.name == "__init__.py"

    def visit(node):
        if (
            isinstance(node, ast.If)
            and ast.unparse(node.test) == "TYPE_CHECKING"
            and not (is_lazy and nested)
        ):
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not nested:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                found.add(name if name in MODULES else node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return {name for name in found if name in MODULES}


def part_of_the_house(module):
    name = module.split(".")[1] if "." in module else ""
    if name in ROOMS | OUTSIDE_THE_CORE:
        return name
    return "ground" if name in GROUND else "core"


def test_every_room_is_known():
    assert {part_of_the_house(module) for module in MODULES} == set(ALLOWED)


@pytest.mark.parametrize("module", [module for module in MODULES if module != "ellipsoid"])
def test_a_module_imports_what_its_room_may(module):
    own = part_of_the_house(module)
    allowed = ALLOWED[own] | {own} | (set() if own == "ground" else {"core", "ground"})
    imported = {name: part_of_the_house(name) for name in imports(MODULES[module]) if name != "ellipsoid"}
    assert {name for name, part in imported.items() if part not in allowed} == set()
    if own in MODELS_AT_POINT_OF_USE:
        at_once = {part_of_the_house(name) for name in imports(MODULES[module], nested=False)}
        assert "models" not in at_once


def test_no_circle():
    """No modules import each other in a circle, not even inside functions."""
    arrows = {name: imports(path) - {name, "ellipsoid"} for name, path in MODULES.items()}
    arrows["ellipsoid"] = set()  # loads its rooms on first use
    while arrows:
        bottom = {name for name, below in arrows.items() if not below & arrows.keys()}
        assert bottom, f"a circle among {sorted(arrows)}"
        arrows = {name: below for name, below in arrows.items() if name not in bottom}


def test_import_is_light():
    """The import needs no JAX, and stays light when a state is fitted, drawn from and asked."""
    code = """
import sys
import ellipsoid as el
print(*sys.modules)
import numpy as np
state = el.fit(np.random.default_rng(0).normal(size=(99, 4)))
el.contains(state, el.sample(el.key(0), state, 9, law="redraw").latents)
print(*sys.modules)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    before, after = (set(line.split()) for line in output.splitlines())
    assert "jax" not in before
    assert "jax" in after
    for loaded in (before, after):
        assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
        # SciPy itself is light, and loads its parts on first use.
        assert loaded & {"scipy.special", "scipy.optimize", "scipy.stats"} == set()
        assert {name for name in loaded if part_of_the_house(name) in ROOMS and "ellipsoid" in name} == set()
