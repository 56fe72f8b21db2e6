"""Packages that load their public names on first use."""

import ast
import importlib
import inspect

import pytest

PACKAGES = ["ellipsoid", "ellipsoid.evaluation", "ellipsoid.models"]


@pytest.mark.parametrize("name", PACKAGES)
def test_type_checkers_are_told_the_same_names_from_the_same_modules(name):
    package = importlib.import_module(name)
    told = {}
    for node in ast.walk(ast.parse(inspect.getsource(package))):
        if isinstance(node, ast.ImportFrom) and node.module.startswith(f"{name}."):
            told |= {alias.asname: node.module.removeprefix(f"{name}.") for alias in node.names}
    told.pop(None, None)
    # A room that is called as a function is a module here, but a function to a type checker.
    assert {public: home for public, home in told.items() if home != "explore.notebook"} == package._homes
    assert set(package.__all__) == {public for public in package._homes if not public.startswith("_")}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_name_loads_and_is_completed(name):
    package = importlib.import_module(name)
    assert {*package._homes, *package._modules} <= set(dir(package))
    for public in package._homes:
        assert getattr(package, public) is not None
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'nothing'"):
        _ = package.nothing


def test_a_function_keeps_its_name_from_the_module_that_defines_it():
    """The name is the function even after the import of its module, which binds the module in the package."""
    import ellipsoid
    import ellipsoid.evaluation.evaluate
    from ellipsoid.directions import directions

    vars(ellipsoid).pop("directions", None)
    ellipsoid.directions = importlib.import_module("ellipsoid.directions")
    assert ellipsoid.directions is directions
    assert callable(ellipsoid.evaluation.evaluate)
