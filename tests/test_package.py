"""The package as it is installed: its files, its version, and a checkout without symbolic links."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import ellipsoid

ROOT = Path(__file__).parents[1]


def pyproject():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def run_python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=True, **options
    ).stdout


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
    cited = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.MULTILINE)
    assert [ellipsoid.__version__] == [importlib.metadata.version("ellipsoid")] == cited


def test_every_public_name_is_there():
    source = (ROOT / "ellipsoid" / "__init__.py").read_text()
    names = set(re.findall(r"import \w+ as (\w+)", source))
    assert {"fit", "sample", "generate", "recommend", "log_prob"} <= names <= set(dir(ellipsoid))
    for name in dir(ellipsoid):
        assert getattr(ellipsoid, name) is not None, name
    with pytest.raises(AttributeError, match="has no attribute 'sampel'"):
        _ = ellipsoid.sampel


@pytest.fixture(scope="module")
def checkout_without_links(tmp_path_factory):
    """Copy of the tree in which the link is a file with its target, as systems without links check it out."""
    copy = tmp_path_factory.mktemp("checkout") / "project"
    copy.mkdir()
    for folder in ("ellipsoid", "models"):
        shutil.copytree(
            ROOT / folder, copy / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    (copy / "ellipsoid" / "models").unlink()
    (copy / "ellipsoid" / "models").write_text("../models")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["wheel", "editable"])
def test_a_checkout_without_symbolic_links_installs_and_imports(checkout_without_links, tmp_path, kind):
    build = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(tmp_path)!r}))"
    name = run_python("-c", build, cwd=checkout_without_links).split()[-1]
    installed = tmp_path / "installed"
    with zipfile.ZipFile(tmp_path / name) as wheel:
        wheel.extractall(installed)
    # Site packages' own .pth files are left out, since they would let the tree under test be found first.
    dependencies = [path for path in sys.path if path.endswith("site-packages")]
    code = (
        f"import site, sys; sys.path[:0] = [{str(installed)!r}]; sys.path += {dependencies!r}\n"
        f"site.addsitedir({str(installed)!r})\n"
        "import ellipsoid, ellipsoid.models.autoencoder, ellipsoid.report\n"
        "print(ellipsoid.__file__); print(ellipsoid.models.__file__)"
    )
    files = [Path(line) for line in run_python("-S", "-c", code, cwd=tmp_path).split("\n") if line]
    if kind == "wheel":
        expected = [installed / "ellipsoid", installed / "ellipsoid" / "models"]
    else:
        expected = [checkout_without_links / "ellipsoid", checkout_without_links / "models"]
    assert [file.parent for file in files] == expected
