"""The README and the guide: their code runs, their commands are understood, their links lead somewhere."""

import functools
import importlib
import pkgutil
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import SMALL_FLOW, decode

import ellipsoid as el
import ellipsoid.cli

ROOT = Path(__file__).parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")])
# A comment before a block says why it is not run here: it needs another framework, or data.
_BLOCKS = re.compile(r"(<!-- (?:not run|run by)[^>]*-->\n)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_END_OF_COMMAND = {"&", "&&", ";", "|", "done"}


def read(page):
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page, language):
    """Give the code of the blocks in a language, and whether each is run here."""
    return [(code, not comment) for comment, name, code in _BLOCKS.findall(read(page)) if name == language]


# --- commands ----------------------------------------------------------------------------------------


def commands(text):
    """Give the arguments of every call of `ellipsoid` in lines of a shell."""
    for line in text.splitlines():
        words = shlex.split(line.replace("$i", "0").replace(";", " ; "), comments=True)
        for start, word in enumerate(words):
            if Path(word).name == "ellipsoid" and (start == 0 or not words[start - 1].startswith("-")):
                rest = words[start + 1 :]
                ends = (i for i, argument in enumerate(rest) if argument in _END_OF_COMMAND)
                yield rest[: next(ends, len(rest))]


@pytest.fixture
def is_understood(monkeypatch):
    """Tell whether words make a command, without running it."""
    for module in pkgutil.iter_modules(ellipsoid.cli.__path__, "ellipsoid.cli."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and hasattr(value, "run"):
                monkeypatch.setattr(value, "run", lambda command: None)

    def check(words):
        try:
            return ellipsoid.cli.main(list(words)) == 0
        except SystemExit:
            return False

    return check


def test_commands_are_found_in_a_line():
    line = ".venv/bin/ellipsoid demo --out run && A=1 ellipsoid fit run --best & done  # ellipsoid no"
    assert list(commands(line)) == [["demo", "--out", "run"], ["fit", "run", "--best"]]


def commands_of(page):
    """Give all commands of a page, including whole ones within its sentences."""
    found = {tuple(words) for code, _ in blocks(page, "bash") for words in commands(code)}
    sentences = map(shlex.split, re.findall(r"(?<!`)`ellipsoid ([^`\n]+)`(?!`)", read(page)))
    return sorted(
        found | {tuple(words) for words in sentences if len(words) > 1 and not any(map(str.isupper, words))}
    )


@pytest.mark.parametrize("page", [page for page in PAGES if commands_of(page)])
def test_every_command_is_understood(page, is_understood):
    for words in commands_of(page):
        assert is_understood(words), words


def test_a_command_that_does_not_exist_is_noticed(is_understood):
    assert not is_understood(["generate", "run", "--number", "3"])


# --- links -------------------------------------------------------------------------------------------


def anchors(text):
    """Give the anchors of the headings of a page, as both GitHub and the site make them."""
    headings = re.findall(
        r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.M
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
        if target.startswith("http"):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), target
        if anchor:
            text = path.read_text(encoding="utf-8")
            included = re.search(r"```\{include\} (.+)", text)
            text = (path.parent / included[1]).read_text(encoding="utf-8") if included else text
            assert anchor in anchors(text), target


# --- code --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_all_code_is_python(page):
    for code, _ in blocks(page, "python"):
        compile(code, page, "exec")


@pytest.fixture
def workplace(tmp_path, monkeypatch, trained_run):
    """Folder with the files that the pages name; nothing that is fitted there takes long."""
    shutil.copytree(trained_run, tmp_path / "run")
    monkeypatch.chdir(tmp_path)

    def small_flow(*arguments, **options):
        return fit_flow(*arguments, **{**options, **SMALL_FLOW, "steps": 20, "progress": False})

    fit_flow = el.fit_flow
    monkeypatch.setattr(el, "fit_flow", small_flow)
    monkeypatch.setattr("ellipsoid.evaluation.best.fit_flow", small_flow)
    from ellipsoid.models.features import FeatureNetworkConfig

    small_network = functools.partial(FeatureNetworkConfig, filters=(4, 8), steps=2, batch_size=16)
    monkeypatch.setattr("ellipsoid.models.features.choose.FeatureNetworkConfig", small_network)


def names_of(page):
    """Give the names that code of a page may use without making them: the reader's names, beside files."""
    # One page takes 120 components.
    d = 130 if page == "docs/your-autoencoder.md" else 12
    latents = np.random.default_rng(0).normal(5, np.geomspace(3, 0.3, d), size=(600, d))
    np.save("latents.npy", latents)
    if page != "docs/judging.md":
        return {"decode": decode}
    weights = np.random.default_rng(1).normal(size=(d, 192)).astype(np.float32) / 4

    def textured(z):
        return 1 / (1 + np.exp(-(z - 5) @ weights)).reshape(-1, 8, 8, 3)

    images = np.round(255 * textured(latents.astype(np.float32))).astype(np.uint8)
    return {
        "decode": textured,
        "train_images": images[:300],
        "test_images": images[300:360],
        "generated_images": images[360:420],
    }


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(run for _, run in blocks(page, "python"))])
@pytest.mark.usefixtures("workplace")
def test_all_code_runs(page):
    names = names_of(page)
    for code, is_run in blocks(page, "python"):
        if is_run:
            exec(compile(code, page, "exec"), names)
