"""The documentation: everything in it runs, is parsed, or is counted."""

import ast
import inspect
import re
import shlex
import subprocess
import sys
from pathlib import Path

import attrs
import pytest

import greenapi_async
from greenapi_async import errors, simulator
from greenapi_async.cli.arguments import parse
from greenapi_async.models import BaseStatus, MediaStatus

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("README*.md"), *DOCS.rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").rglob("*.md"))
FENCE = re.compile(r"^ *```(\w*)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
ASSIGNED = re.compile(r"self\.(\w+)(?:: [\w |]+)? = ")
HEADING = re.compile(r"^(#+) ", re.MULTILINE)
ERROR = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)
ELSEWHERE = re.compile(r"\]\(\.\./([\w/-]*?)/?(?:#([\w-]+))?\)")
TRANSLATED = [*ROOT.glob("README.*.md"), *sorted((DOCS / "ru").glob("*.md"))]
REFERENCE = re.compile(r"^::: greenapi_async\.([\w.]+)", re.MULTILINE)


def blocks(page, language):
    return [code for name, code in FENCE.findall(page.read_text("utf-8")) if name == language]


def commands():
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in block.splitlines():
                for command in line.removeprefix("$ ").split("&&") if line.startswith("$ ") else ():
                    if "greenapi-async" in command:
                        yield pytest.param(command, id=f"{page.name}: {command.strip()}")


def test_every_python_block_of_every_page_runs():
    """Whoever adds a page, or a folder of pages, has its examples run."""
    told = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:cacheprovider",
            "README.md",
            "README.ru.md",
            "docs",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    ran = [Path(name) for name in re.findall(r"^(\S+\.md)::line", told, re.MULTILINE)]
    visible = {page.relative_to(ROOT): len(blocks(page, "python")) for page in PAGES}

    assert {page: ran.count(page) for page in visible if ran.count(page) < visible[page]} == {}
    assert sum(visible.values()) > 12


@pytest.mark.parametrize("command", list(commands()))
def test_a_command_line_is_understood(command):
    """The command's own parser takes it; what a shell does with its output is cut off."""
    words = shlex.split(re.split(r"[|>]", command)[0])
    program = next(number for number, word in enumerate(words) if word.endswith("greenapi-async"))

    assert parse(words[program + 1 :]).run


@pytest.mark.parametrize(
    "page", [*sorted(ROOT.glob("*.md")), *EXAMPLES], ids=lambda page: page.relative_to(ROOT).as_posix()
)
def test_a_link_leads_to_a_file(page):
    """The site's builder checks its own pages; these are read where the code is."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)", FENCE.sub("", page.read_text("utf-8")))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_reference_has_every_public_name():
    told = {
        name
        for page in (DOCS / "en" / "reference").glob("*.md")
        for name in REFERENCE.findall(page.read_text("utf-8"))
    }
    public = {*greenapi_async.__all__, *(f"simulator.{name}" for name in simulator.__all__)}

    assert public - told == set()


def test_every_page_is_in_the_menu():
    for configuration, language in (("mkdocs.yml", "en"), ("mkdocs.ru.yml", "ru")):
        listed = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / configuration).read_text("utf-8"), re.MULTILINE))
        written = {page.relative_to(DOCS / language).as_posix() for page in (DOCS / language).rglob("*.md")}
        assert listed == written


def original(page):
    return ROOT / "README.md" if page.parent == ROOT else DOCS / "en" / page.name


def code(page):
    """Return the page's blocks, without the comments, which are translated."""
    return [(name, re.sub(r"# .*", "#", text)) for name, text in FENCE.findall(page.read_text("utf-8"))]


def headings(page):
    return HEADING.findall(FENCE.sub("", page.read_text("utf-8")))


@pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)
def test_a_translation_keeps_step(page):
    """The same code, as many headings of the same levels, the same errors."""
    assert code(page) == code(original(page))
    assert headings(page) == headings(original(page))
    assert ERROR.findall(page.read_text("utf-8")) == ERROR.findall(original(page).read_text("utf-8"))


@pytest.mark.parametrize("page", sorted((DOCS / "ru").glob("*.md")), ids=lambda page: page.name)
def test_a_translation_links_to_english_pages_that_exist(page):
    """They are another site's to the builder, which therefore does not check them."""
    for name, anchor in ELSEWHERE.findall(page.read_text("utf-8")):
        text = (DOCS / "en" / f"{name or 'index'}.md").read_text("utf-8")
        slugs = [
            re.sub(r"[^\w-]", "", title.lower().replace(" ", "-"))
            for title in re.findall(r"^#+ (.*)", text, re.MULTILINE)
        ]
        assert not anchor or anchor in slugs


def test_every_error_is_told_what_to_do_about():
    public = {name for name in greenapi_async.__all__ if name.endswith("Error")}

    assert set(ERROR.findall((DOCS / "en" / "errors.md").read_text("utf-8"))) == public


def public_classes():
    named = {getattr(greenapi_async, name) for name in greenapi_async.__all__}
    return {
        each
        for each in named
        | {BaseStatus, MediaStatus}
        | {getattr(simulator, name) for name in simulator.__all__}
        if isinstance(each, type)
    }


def documented(cls):
    section = re.search(
        r"^ *Attributes:\n(.*?)(?=\n\n *[A-Z]\w+:\n|\Z)", cls.__doc__ or "", re.MULTILINE | re.DOTALL
    )
    return set(re.findall(r"^ +(\w+): ", section[1], re.MULTILINE)) if section else set()


def fields(cls):
    """Return the public fields: an attrs class', or those that an error has."""
    if attrs.has(cls):
        return {field.name for field in attrs.fields(cls) if not field.name.startswith("_")}

    if issubclass(cls, errors.GreenApiError):
        return {name for each in cls.__mro__ for name in ASSIGNED.findall(constructor(each))} | {"retryable"}

    return set()


def constructor(cls):
    ours = issubclass(cls, errors.GreenApiError) and "__init__" in vars(cls)
    return inspect.getsource(cls.__init__) if ours else ""


@pytest.mark.parametrize(
    "cls", sorted(public_classes(), key=lambda cls: cls.__name__), ids=lambda cls: cls.__name__
)
def test_every_public_field_has_its_line(cls):
    """The reference shows what stands in `Attributes:`, and nothing else."""
    assert fields(cls) - documented(cls) == set()


def test_no_public_default_is_a_private_name():
    """A signature in the reference shows the default as it stands in the source."""
    hidden = [
        f"{path.name}:{default.lineno} {default.id}"
        for path in (ROOT / "greenapi_async").rglob("[!_]*.py")
        if not any(
            part == "cli" or part.startswith("_") for part in path.relative_to(ROOT / "greenapi_async").parts
        )
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and is_public(node.name)
        for default in (*node.args.defaults, *node.args.kw_defaults)
        if isinstance(default, ast.Name) and default.id.startswith("_")
    ]

    assert hidden == []


def is_public(name):
    return name == "__init__" or not name.startswith("_")
