import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import ellipsoid

ROOT = Path(__file__).parents[1]


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_import_is_light():
    code = "import sys, ellipsoid; print(*{name.partition('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(loaded.stdout.split())
    assert "jax" in modules
    assert modules.isdisjoint({"flax", "matplotlib", "sklearn", "orbax", "rich", "optax"})


def test_the_packages_are_the_folders_with_modules():
    folders = {
        folder: {path.parent.relative_to(ROOT) for path in (ROOT / folder).rglob("*.py")}
        for folder in ("ellipsoid", "models")
    }
    names = {".".join(path.parts) for path in folders["ellipsoid"]}
    names |= {".".join(("ellipsoid", *path.parts)) for path in folders["models"]}
    setuptools = pyproject()["tool"]["setuptools"]
    assert set(setuptools["packages"]) == names
    for name, folder in setuptools["package-dir"].items():
        assert (ROOT / folder / "__init__.py").is_file()
        assert (ROOT / name.replace(".", "/")).resolve() == (ROOT / folder).resolve()


def test_one_version_everywhere():
    assert (
        ellipsoid.__version__ == importlib.metadata.version("ellipsoid") == pyproject()["project"]["version"]
    )
