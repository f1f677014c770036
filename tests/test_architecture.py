"""The shape of the package: wings with walls between them, imports that point down, one home for each library."""

import ast
import functools
import os
import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from versions import ANYIO

import greenapi_async

PACKAGE = Path(greenapi_async.__file__).parent

# Top to bottom; a place may import from its own floor's wing and from the floors below, never from beside.
FLOORS = [
    {"__main__"},
    {"cli"},
    {"__init__"},
    {"fleet"},
    {"client"},
    {"poller"},
    {"_family", "_fleet"},
    {"_polling"},
    {"_api", "_media"},
    {"_http", "_decoding", "stores"},
    {"events"},
    {"models"},
    {"errors", "_turn", "_threads", "_system"},
]
WINGS = {"_fleet", "_polling", "_api", "_media", "_decoding", "_http", "cli", "stores", "simulator"}
ONLY_FROM = {"simulator": {"cli", "simulator"}}
NEVER = {("_polling", "_http")}  # What to request next does not depend on how it is sent.
BESIDE = {("stores/redis", "_decoding/statuses")}  # What it publishes is the wire's JSON.

# Inside a wing, top to bottom.
INSIDE = {
    "cli": [
        *("arguments", "commands", "check", "check_texts", "cards", "picture", "execute", "saver", "notices"),
        *("filters", "terminal", "moments", "streams"),
    ],
    "_polling": [
        *("feed", "tick", "handling"),
        *("origin", "ladder", "servertime", "journal", "clocks", "width", "backoff"),
    ],
    "_fleet": ["hostlog", "roster"],
    "_api": ["instance", "refusals", "frontend", "token"],
    "_media": [
        *(
            "unfinished",
            "save",
            "latest",
            "refresh",
            "places",
            "receiver",
            "download",
            "disk",
            "memory",
            "part",
        ),
        *("attachment", "name", "filetype"),
    ],
    "_decoding": [
        *("page", "portions", "alone", "portion"),
        *("statuses", "strict", "converter", "twin", "typed", "scanner", "text"),
    ],
    "_http": [
        *("exchange", "probe", "limiter", "transport", "pool", "tunnel", "network", "loops"),
        *("proxy", "body", "failures", "address"),
    ],
}

HOMES = {
    "httpx": {"_http", "_api/token", "_media/download"},
    "httpcore": {"_http"},
    "cattrs": {"_decoding"},
    "msgspec": {"_decoding"},
    "json": {"_decoding", "cli", "simulator"},
    "h11": {"simulator"},
    "hypothesis": {"stores"},
    "argparse": {"cli"},
    "rich": {"cli/cards"},
    "PIL": {"cli/picture"},
    "sqlite3": {"stores"},
    "threading": {"stores"},
    "ssl": {"_http"},
    "zlib": {"_http", "simulator"},
    "random": {"client", "fleet", "poller", "simulator"},
    "time": {"client", "fleet", "_turn", "simulator", "stores", "cli/check"},
    "python_socks": {"_http"},
    "redis": {"stores/redis"},
    "asyncio": set(),
    "trio": set(),
}


def sources():
    """Return the package: the text of each module by its path."""
    return {
        path.relative_to(PACKAGE).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def breaches(modules):
    """Return what is wrong with a package, a line for each import that goes through a wall."""
    return [
        f"{module}: {wrong}"
        for module, source in modules.items()
        for name in _imports_of(source)
        for wrong in [_wrong(module, name, modules)]
        if wrong
    ]


def _wrong(module, name, modules):
    library, *path = name.split(".")
    if library != "greenapi_async":
        homes = HOMES.get(library)
        return (
            f"{library} has another home"
            if homes is not None and not {module, _place(module)} & homes
            else ""
        )

    imported = _module_of(path, modules)
    if imported == module or (module, imported) in BESIDE:
        return ""

    here, there = _place(module), _place(imported)
    if here == there:
        return _climbs_inside(here, module, imported)

    if there == "simulator" or here == "simulator":
        allowed = here in ONLY_FROM.get(there, set())
        return "" if allowed else f"only {sorted(ONLY_FROM['simulator'])} know the simulator"

    if _floor(there) <= _floor(here) or (here, there) in NEVER:
        return f"there is a wall before {imported}"

    return ""


def _module_of(path, modules):
    """Return the module that a dotted name is of; what is no module's is the package's own."""
    for length in range(len(path), 0, -1):
        for end in ("", "/__init__"):
            if (module := "/".join(path[:length]) + end) in modules:
                return module

    return "__init__"


def _climbs_inside(wing, module, imported):
    order = INSIDE.get(wing)
    if order is None or module.endswith("/__init__"):
        return ""

    above, below = module.partition("/")[2], imported.partition("/")[2]
    return "" if below in order[order.index(above) + 1 :] else f"{imported} stands above it"


def _place(module):
    """Return the wing that a module is in, or what stands at the package's top."""
    return module.partition("/")[0]


def _floor(place):
    return next(number for number, places in enumerate(FLOORS) if place in places)


@functools.cache
def _imports_of(source):
    return tuple(_imports(ast.parse(source)))


def _imports(tree):
    """Yield the dotted names that run when the module does; annotations import under TYPE_CHECKING."""
    guarded = {id(node) for guard in ast.walk(tree) if _is_typing_guard(guard) for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_typing_guard(node):
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def test_no_import_goes_through_a_wall():
    """Decisions stand below, acting above; the token's wing and the media hosts' know nothing of each other."""
    assert breaches(sources()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("_http/pool", "from greenapi_async._api.token import Secret"),
        ("_http/pool", "from greenapi_async._http.exchange import Http"),
        ("_http/body", "from greenapi_async._decoding import page"),
        ("_http/body", "from greenapi_async import client"),
        ("_http/body", "from greenapi_async import AsyncStatusesClient"),
        ("_decoding/page", "from greenapi_async._http.failures import printable"),
        ("_decoding/page", "import httpx"),
        ("_api/instance", "from greenapi_async._media.save import save_media"),
        ("_api/instance", "import httpx"),
        ("_api/refusals", "import cattrs"),
        ("_api/refusals", "import httpcore"),
        ("_media/save", "from greenapi_async._api.token import Secret"),
        ("_media/download", "def late():\n    import httpcore"),
        ("_polling/tick", "from greenapi_async._http.exchange import Http"),
        ("_polling/tick", "from greenapi_async import poller"),
        ("_polling/ladder", "from greenapi_async._polling.tick import Tick"),
        ("poller", "import greenapi_async.client"),
        ("stores/base", "from greenapi_async._decoding.statuses import dumps"),
        ("stores/redis", "from greenapi_async._decoding.page import decode"),
        ("stores/redis", "from greenapi_async.poller import Batch"),
        ("stores/sqlite", "import redis"),
        ("models", "from greenapi_async.events import Health"),
        ("client", "from greenapi_async.simulator import Simulator"),
        ("cli/terminal", "from greenapi_async.cli import commands"),
        ("client", "import msgspec"),
        ("simulator/faults", "from greenapi_async.models import Status"),
        ("client", "import asyncio"),
    ],
)
def test_a_breach_of_a_wall_is_caught(module, line):
    """A wall that lets something through is none."""
    modules = sources()
    modules[module] += f"\n{line}\n"

    assert [breach.partition(":")[0] for breach in breaches(modules)] == [module]


def test_the_pytest_plugin_uses_what_a_test_would():
    """It stands beside the package, above the client and the simulator, and knows nothing private."""
    tree = ast.parse((PACKAGE.parent / "greenapi_async_pytest.py").read_text("utf-8"))

    assert {name for name in _imports(tree) if name.startswith("greenapi")} == {
        "greenapi_async.AsyncStatusesClient",
        "greenapi_async.simulator.Simulator",
    }


def test_the_architecture_is_to_be_seen():
    """What `ls` shows is the house, and each wing begins with one sentence about itself."""
    files = {path.name for path in PACKAGE.glob("*.py")}
    wings = {path.parent.name: path.read_text("utf-8") for path in PACKAGE.glob("*/__init__.py")}

    assert files == {
        *("__init__.py", "__main__.py", "fleet.py", "client.py", "poller.py", "_family.py"),
        *("models.py", "errors.py", "events.py", "_turn.py", "_threads.py", "_system.py"),
    }
    assert wings.keys() == WINGS
    for name, source in wings.items():
        tree = ast.parse(source)
        first = ast.get_docstring(tree).splitlines()[0]
        assert first.endswith(".")
        assert name in {"cli", "stores", "simulator"} or len(tree.body) == 1


@pytest.mark.parametrize("wing", INSIDE)
def test_every_module_stands_in_the_order(wing):
    """A new module has to be given its place."""
    modules = {path.stem for path in (PACKAGE / wing).glob("*.py")}

    assert modules - {"__init__"} == set(INSIDE[wing])


def test_all_is_complete_and_sorted():
    """Everything public is importable from the package."""
    assert greenapi_async.__all__ == sorted(greenapi_async.__all__)
    for name in ("errors", "models", "events"):
        module = getattr(greenapi_async, name)
        defined = {
            key for key, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__
        }
        internal = ("_", "Base", "deletion", "sealed")
        public = {name for name in defined if not name.startswith(internal)}
        assert public <= set(greenapi_async.__all__)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "errors",
            "models",
            "events",
            "stores",
            "stores.conformance",
            "stores.redis",
            "simulator",
            "simulator.faults",
        ),
        *("client.AsyncStatusesClient", "poller.StatusPoller", "cli.main"),
    ],
)
def test_what_others_import_stays_importable(name):
    """Pickles name these modules, and programs import them."""
    script = f"import pkgutil; pkgutil.resolve_name('greenapi_async.{name}')"

    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


@pytest.mark.skipif(ANYIO < (4, 12), reason="anyio brought sniffio until 4.12")
def test_installation_brings_few_packages():
    """Twelve at most, this one included: counted over what the dependencies ask for here."""
    wanted, found = ["greenapi-async"], set()
    while wanted:
        name = wanted.pop()
        if name not in found:
            found.add(name)
            wanted += [_name(line) for line in requires(name) or () if _applies(line)]

    assert len(found) <= 12, found


def _name(requirement):
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")


def _applies(requirement):
    from packaging.requirements import Requirement

    marker = Requirement(requirement).marker
    return marker is None or marker.evaluate({"extra": ""})


def test_import_starts_nothing_and_loads_little():
    """Neither the command, nor a database, nor an event loop is loaded by `import greenapi_async`."""
    script = "import greenapi_async, sys; print(*sys.modules)"
    unmeasured = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}

    loaded = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, env=unmeasured
    ).stdout.split()

    assert not {
        "greenapi_async.cli",
        "greenapi_async.simulator",
        "greenapi_async._media",
        "hypothesis",
        "argparse",
        "sqlite3",
        "cattrs",
        "msgspec",
        *(
            ["html"] if "pygments" not in loaded else []
        ),  # httpx loads that for its own command, where it is installed.
        "httpcore",
        "python_socks",
        "redis",
        *(["anyio.lowlevel"] if ANYIO >= (4, 16) else []),  # What anyio loads late since then.
    } & set(loaded)
