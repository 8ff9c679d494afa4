"""What the documentation points at is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import typer.main

from toolchain.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
TOP = (".ci", "bench", "boards", "docs", "examples", "firmware_templates", "tests", "toolchain")
# In a page, a room of the package or a folder of the firmware stands for itself.
BASES = (ROOT, ROOT / "toolchain", ROOT / "firmware_templates", ROOT / "tests")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def prose_of(page: Path) -> str:
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose_of(page))


def is_a_path(words: str) -> bool:
    if not re.fullmatch(r"[\w.*<>/-]+", words):
        return False
    folder = words.split("/")[0] if "/" in words else ""
    in_the_repository = bool(folder) and any((base / folder).is_dir() for base in BASES)
    return in_the_repository or words.endswith((".py", ".c", ".j2", ".md"))


def exists(path: str) -> bool:
    """Look for a path, or for a bare name anywhere; `<name>` stands for any."""
    pattern = re.sub(r"<\w+>", "*", path)
    if "/" in pattern:
        return any(any(base.glob(pattern.rstrip("/"))) for base in BASES)
    files = {file.name for top in TOP for file in (ROOT / top).rglob("*")}
    files |= {file.name for file in ROOT.glob("*.md")}
    # What is rendered is there as its template.
    return pattern in files or f"{pattern}.j2" in files


@each_page
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", prose_of(page))

    relative = [link.split("#")[0] for link in links if not re.match(r"https?:|#", link)]

    assert [link for link in relative if not (page.parent / link).exists()] == []


@each_page
def test_paths_are_there(page):
    paths = [words for words in inline_code(page) if is_a_path(words)]

    assert [path for path in paths if not exists(path)] == []


@each_page
def test_verbs_are_there(page):
    text = page.read_text(encoding="utf-8")
    code = [*FENCED.findall(text), *inline_code(page)]
    verbs = {verb for part in code for verb in re.findall(r"\bshelfcast ([a-z]+)", part)}

    assert verbs - set(typer.main.get_command(app).commands) == set()


@each_page
def test_tests_are_there(page):
    names = {words for words in inline_code(page) if re.fullmatch(r"test_\w+", words)}
    sources = "".join(file.read_text(encoding="utf-8") for file in ROOT.glob("tests/**/*.py"))

    assert {name for name in names if f"def {name}(" not in sources} == set()


def test_the_traps_of_the_page_are_tested():
    page = (ROOT / "docs/numerics.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    traps = {name for row in rows for name in re.findall(r'"([^"]+)"', row)}
    tested = (ROOT / "tests/engine/test_traps.py").read_text(encoding="utf-8")

    assert len(traps) > 10
    assert {name for name in traps if f'"{name}": (' not in tested} == set()


def test_the_page_of_dependencies_lists_them_as_they_are():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.match(r"[\w-]+", line)[0] for line in project["dependencies"]}
    page = (ROOT / "docs/decisions/dependencies.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^\| ([a-z0-9-]+) \|", page, re.MULTILINE)) - {"package"} == needed
