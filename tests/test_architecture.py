"""The shape of the package: imports point down, and a library is imported in one place."""

import ast
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from versions import ANYIO

import greenapi_async

PACKAGE = Path(greenapi_async.__file__).parent

# Top to bottom; a module may import what stands below it.
ORDER = [
    "__main__",
    "cli",
    "__init__",
    "client",
    "_media/save",
    "poller",
    "_polling/tick",
    "_polling/journal",
    "events",
    "stores",
    "_polling/ladder",
    "_polling/backoff",
    "_decoding/page",
    "_media/download",
    "_api/instance",
    "_http/transport",
    "_http/pool",
    "_http/network",
    "_http/address",
    "_media/name",
    "_media/filetype",
    "_media/part",
    "_http/body",
    "_api/refusals",
    "_api/token",
    "_turn",
    "_decoding/statuses",
    "_decoding/converter",
    "_decoding/typed",
    "_api",
    "_http",
    "_decoding",
    "_polling",
    "_media",
    "models",
    "errors",
    "simulator",
]
WINGS = [
    f"greenapi_async.{place}"
    for place in ORDER
    if place in {each.split("/")[0] for each in ORDER if "/" in each}
]
HOMES = {
    "httpx": {"_api/instance", "_media/download", "_http/pool", "_http/transport"},
    "httpcore": {
        "_media/download",
        "_http/network",
        "_http/pool",
    },  # A download's connections are guarded one level below the pool.
    "cattrs": {"_decoding/converter"},
    "msgspec": {"_decoding/typed"},
    "json": {"_decoding/statuses", "cli", "simulator"},
    "h11": {"simulator"},
    "hypothesis": {"stores"},
    "argparse": {"cli"},
    "sqlite3": {"stores"},
    "threading": {"stores"},
    "ssl": {"_api/instance", "_http/network", "_http/transport"},
    "zlib": {"_http/body", "simulator"},
    "random": {"client", "poller", "simulator"},
    "time": {"client", "_turn", "simulator"},
    "asyncio": set(),
    "trio": set(),
}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield _place(path.relative_to(PACKAGE).as_posix()), ast.parse(path.read_text(encoding="utf-8"))


def _place(path):
    """Return `wing/module` for a module of a private wing, else what stands at the package's top."""
    module = path.removesuffix(".py").removesuffix("/__init__")
    return module if module in ORDER else module.split("/")[0]


def imports(tree):
    """Yield the dotted names that run when the module does; annotations import under TYPE_CHECKING."""
    guarded = {id(node) for guard in ast.walk(tree) if _is_typing_guard(guard) for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from names if node.module in WINGS else [node.module, *names]


def _is_typing_guard(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


@pytest.mark.parametrize(
    ("module", "tree"), list(modules()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_imports_point_down(module, tree):
    """Decisions stand below, acting above; nothing below knows what stands above."""
    own = {
        _place("/".join(name.split(".")[1:])) for name in imports(tree) if name.startswith("greenapi_async.")
    }
    below = ORDER[ORDER.index(module) :]

    assert {name for name in own if name in ORDER} <= set(below)


@pytest.mark.parametrize("library", HOMES)
def test_library_has_one_home(library):
    """Whoever wants to replace a library finds it in one place."""
    users = {
        module for module, tree in modules() if library in {name.split(".")[0] for name in imports(tree)}
    }

    assert users <= HOMES[library]


def test_every_module_stands_in_the_order():
    """A new module has to be given its place."""
    assert {module for module, _ in modules()} == set(ORDER)


def test_all_is_complete_and_sorted():
    """Everything public is importable from the package."""
    assert greenapi_async.__all__ == sorted(greenapi_async.__all__)
    for name in ("errors", "models", "events"):
        module = getattr(greenapi_async, name)
        defined = {
            key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        }
        public = {
            name for name in defined if not name.startswith(("_", "Base", "Media", "deletion", "sealed"))
        }
        assert public <= set(greenapi_async.__all__)


@pytest.mark.skipif(ANYIO < (4, 12), reason="anyio brought sniffio until 4.12")
def test_installation_brings_few_packages():
    """Eleven at most, this one included: counted over what the dependencies ask for here."""
    wanted, found = ["greenapi-async"], set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += [_name(line) for line in requires(name) or () if _applies(line)]

    assert len(found) <= 11, found


def _name(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def _applies(requirement):
    from packaging.requirements import Requirement

    marker = Requirement(requirement).marker
    return marker is None or marker.evaluate({"extra": ""})


def test_import_starts_nothing_and_loads_little():
    """Neither the command, nor a database, nor an event loop is loaded by `import greenapi_async`."""
    script = "import greenapi_async, sys; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    ).stdout.split()

    assert not {
        "greenapi_async.cli",
        "greenapi_async.simulator",
        "greenapi_async._media.save",
        "hypothesis",
        "argparse",
        "sqlite3",
        "cattrs",
        "msgspec",
        "httpcore",
        *(["anyio.lowlevel"] if ANYIO >= (4, 16) else []),  # What anyio loads late since then.
    } & set(loaded)
