"""The pytest plugin, in runs of its own: with every async plugin, and without a trace where nobody uses it."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import greenapi_async

pytest_plugins = ["pytester"]

ROOT = Path(greenapi_async.__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHIPPED = ["greenapi_async", "greenapi_async_pytest.py"]

# Warnings are errors, but for the one that anyio, which we import, calls forth by an entry point of its own.
QUIET = [
    *("-W", "error", "-W", "ignore:Module already imported so cannot be rewritten; anyio"),
    *("-p", "no:cacheprovider", "-o", "asyncio_default_fixture_loop_scope=function"),
]

TESTS = """
import pytest
from greenapi_async import AsyncStatusesClient, ServerError
from greenapi_async.simulator import Refuse

{fixtures}

{mark}
async def test_a_client(greenapi_simulator, statuses_client):
    greenapi_simulator.post(text="Hello")
    async with statuses_client as client:
        [status] = await client.fetch()

    assert status.text_message == "Hello"

{mark}
async def test_the_environment(greenapi_env, greenapi_simulator):
    greenapi_simulator.post()
    async with AsyncStatusesClient.from_env() as client:
        assert len(await client.fetch()) == 1

    assert greenapi_env == greenapi_simulator.env

{mark}
async def test_a_poller(greenapi_simulator, statuses_client):
    greenapi_simulator.post("image")
    greenapi_simulator.faults.append(Refuse(502))
    async with statuses_client as client:
        async for status in client.poll():
            assert status.kind == "image"
            break

def test_without_async(greenapi_simulator, statuses_client):
    assert greenapi_simulator.url.startswith("http://127.0.0.1:")
"""


def install(directory):
    """Make a distribution in a directory: the one that pyproject.toml describes, without its files."""
    info = directory / f"greenapi_async-{greenapi_async.__version__}.dist-info"
    info.mkdir(parents=True)
    files = [
        path for name in SHIPPED for path in [ROOT / name, *(ROOT / name).rglob("*.py")] if path.is_file()
    ]
    points = PYPROJECT["project"]["entry-points"]
    (info / "METADATA").write_text(f"Name: greenapi-async\nVersion: {greenapi_async.__version__}\n")
    (info / "RECORD").write_text("".join(f"{path.relative_to(ROOT)},,\n" for path in files))
    (info / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n{name} = {target}\n"
            for group, each in points.items()
            for name, target in each.items()
        )
    )
    return directory


@pytest.fixture
def run(pytester, monkeypatch, tmp_path):
    """Run pytest on a file as a user's project does, warnings being errors."""

    def run(source, *arguments, **ini):
        settings = {"asyncio_default_fixture_loop_scope": "function"} | ini
        pytester.makeini("[pytest]\n" + "".join(f"{name} = {value}\n" for name, value in settings.items()))
        pytester.makepyfile(source)
        return pytester.runpytest_subprocess("-W", "error", *arguments)

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(install(tmp_path / "site")), str(ROOT)]))
    return run


def test_with_pytest_asyncio_strict(run, monkeypatch):
    """Its fixtures end in another task than they began in, so ours are not async; a developer's variables do not count."""
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE_FILE", "/nowhere")
    source = TESTS.format(fixtures="", mark="@pytest.mark.asyncio")

    run(source, asyncio_mode="strict").assert_outcomes(passed=4)


def test_with_pytest_asyncio_auto(run):
    run(TESTS.format(fixtures="", mark=""), asyncio_mode="auto").assert_outcomes(passed=4)


def test_with_anyios_plugin_on_both_loops(run):
    backends = '@pytest.fixture(params=["asyncio", "trio"])\ndef anyio_backend(request): return request.param'
    source = TESTS.format(fixtures=backends, mark="@pytest.mark.anyio")

    run(source).assert_outcomes(passed=7)


def test_in_parallel(run):
    source = TESTS.format(fixtures="", mark="@pytest.mark.asyncio")

    run(source, "-n", "2", asyncio_mode="strict").assert_outcomes(passed=4)


def documented():
    """Return the blocks of the documentation that are tests with our fixtures: each is a file of its own."""
    pages = [*ROOT.glob("README*.md"), *(ROOT / "docs").rglob("*.md")]
    blocks = [block for page in pages for block in PYTHON.findall(page.read_text("utf-8"))]
    return [block for block in blocks if re.search(r"def test_\w+\([^)]*(greenapi_|statuses_client)", block)]


def test_the_documented_tests_pass_as_they_stand(run):
    """The documentation's own run only defines them, for it is not pytest that runs them."""
    blocks = documented()

    assert blocks
    for block in blocks:
        outcomes = run(block, asyncio_mode="strict").parseoutcomes()
        assert outcomes == {"passed": len(re.findall("def test_", block))}


def test_a_project_can_make_the_simulator_its_own(run):
    """By a fixture of the same name, which the others then use."""
    source = """
        import pytest
        from greenapi_async.simulator import Simulator

        @pytest.fixture(scope="module")
        def greenapi_simulator():
            with Simulator(id_instance="7103000001") as api:
                yield api

        def test_it(greenapi_env, statuses_client):
            assert "7103000001" in repr(statuses_client)
            assert greenapi_env["GREEN_API_ID_INSTANCE"] == "7103000001"
    """

    run(source).assert_outcomes(passed=1)


def test_the_variables_are_gone_after_the_test(run):
    source = """
        import os

        def test_one(greenapi_env):
            assert os.environ["GREEN_API_URL"]

        def test_two():
            assert "GREEN_API_URL" not in os.environ
    """

    run(source).assert_outcomes(passed=2)


def test_the_fixtures_are_listed_with_what_they_do(run):
    result = run("", "--fixtures")

    result.stdout.fnmatch_lines_random(
        ["*greenapi_simulator*", "*greenapi_env*", "*statuses_client*", "*A GREEN-API on loopback*"]
    )


def isolated(tmp_path, *arguments, cwd):
    """Run Python with nothing but an installed distribution of ours on its path, beside what is there anyway."""
    site = install(tmp_path / "site")
    for name in SHIPPED:
        (site / name).symlink_to(ROOT / name)

    unmeasured = {
        name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE_", "PYTEST_"))
    }
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=unmeasured | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_project_that_does_not_use_it_loads_one_module(tmp_path):
    """Anything below `greenapi_async.` would import httpx into the runs of every project."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n"
        "    assert [name for name in sys.modules if name.startswith('greenapi')] == ['greenapi_async_pytest']\n"
    )

    run = isolated(tmp_path, "-m", "pytest", *QUIET, cwd=project)

    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout


def test_the_module_loads_nothing_but_pytest(tmp_path):
    script = "import pytest, sys; before = set(sys.modules); import greenapi_async_pytest; print(*(set(sys.modules) - before))"

    run = isolated(tmp_path, "-c", script, cwd=tmp_path)

    assert run.stdout.split() == ["greenapi_async_pytest"], run.stderr


@pytest.mark.parametrize("module", SHIPPED)
def test_a_program_may_import_us_before_it_runs_pytest(tmp_path, module):
    """An entry point makes pytest rewrite our assertions, and warn where it comes too late: an error with `-W error`."""
    name = module.removesuffix(".py")
    (tmp_path / "test_it.py").write_text("def test_it(greenapi_env): assert greenapi_env\n")
    script = f"import {name}, pytest; raise SystemExit(pytest.main({[*QUIET, 'test_it.py']}))"

    run = isolated(tmp_path, "-c", script, cwd=tmp_path)

    assert run.returncode == 0, run.stdout + run.stderr


def test_what_is_built_holds_it():
    """Beside the package, in the wheel and in the source distribution."""
    targets = PYPROJECT["tool"]["hatch"]["build"]["targets"]

    assert targets["wheel"]["packages"] == SHIPPED
    assert {f"/{name}" for name in SHIPPED} <= set(targets["sdist"]["include"])
