"""The checks: `nox -s tests`, and everything else that `.ci/run` calls."""

import itertools
import os
import re
import shutil
from pathlib import Path

import nox

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
TYPED = ["greenapi_async", "greenapi_async_pytest.py", "noxfile.py", "tests/typing_api.py"]
# A file's tests stay together, in their order: the examples of one page share their names, a module's fixtures start
# processes, and the short files come last. More workers than cores: much of the time is spent waiting for sockets.
IN_PARALLEL = ["-n", str((os.cpu_count() or 1) + 2), "--dist", "loadfile", "--no-loadscope-reorder"]
# Tests of real systems, terminals and other programs take half of the time, and add no coverage.
FIELD = [
    *(
        f"tests/field/test_{name}.py"
        for name in (
            *("disks", "hosts", "loops", "pipes", "starved_programs", "stops", "waits"),
            *(f"media_{name}" for name in ("framing", "late", "many", "types", "watch")),
        )
    ),
    "tests/stores/test_redis_killed.py",
    "tests/test_pytest_plugin.py",
]
# Whole histories, and the mutants that they kill: they prove the promises, and add no coverage.
PROOFS = [
    "tests/_decoding/test_corpus.py",
    "tests/_decoding/test_odd_items.py",
    "tests/_fleet/test_histories.py",
    "tests/_fleet/test_loads.py",
    "tests/_fleet/test_roster.py",
    "tests/_polling/test_beginning.py",
    "tests/_polling/test_ladder.py",
    "tests/_polling/test_small_histories.py",
    "tests/test_chaos.py",
    "tests/test_year.py",
]
# The documentation's programs that never end are watched until they wait, and the command's processes start slowly.
ONCE = [
    "docs",
    "README.md",
    "README.ru.md",
    *(f"tests/cli/test_{name}.py" for name in ("cards", "check", "execute", "process")),
]
QUICK = [f"--ignore={path}" for path in [*FIELD, *PROOFS]]
WITHOUT_PROGRAMS = [f"--ignore={path}" for path in [*FIELD, *ONCE]]
# Where no Redis can be had, its tests are skipped.
HAS_REDIS = shutil.which("redis-server") or "REDIS_URL" in os.environ
UNCOVERED = [] if HAS_REDIS else ["--omit", "greenapi_async/stores/redis.py"]

nox.options.sessions = ["tests", "lint", "types"]


def install(session: nox.Session, group: str, *requirements: str) -> None:
    session.install("-e", ".[cli]", *nox.project.dependency_groups(PYPROJECT, group), *requirements)


@nox.session
def tests(session: nox.Session) -> None:
    """Run what is quick; `-- tests/test_client.py -k closed` runs a part in one process."""
    install(session, "tests")
    session.run("pytest", *(session.posargs or [*IN_PARALLEL, *QUICK]))


@nox.session
def coverage(session: nox.Session) -> None:
    """Run what is quick, and measure what it covers; that takes half as long again."""
    install(session, "tests")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *IN_PARALLEL, *QUICK)
    session.run("coverage", "combine", "--quiet")
    session.run("coverage", "report", *UNCOVERED)


@nox.session(python=PYTHONS)
def field(session: nox.Session) -> None:
    """Run the cases that came from the field: real systems, terminals, processes and other programs."""
    install(session, "tests")
    session.run("pytest", *(session.posargs or [*IN_PARALLEL, *FIELD]))


@nox.session(python=PYTHONS)
def proofs(session: nox.Session) -> None:
    """Run whole histories, and check that they kill the mutants."""
    install(session, "tests")
    session.run("pytest", *(session.posargs or [*IN_PARALLEL, *PROOFS]))


@nox.session(python=PYTHONS)
def tests_all(session: nox.Session) -> None:
    """Run the suite and the proofs on every installed Python, without what is run once."""
    install(session, "tests")
    session.run("pytest", *(session.posargs or [*IN_PARALLEL, *WITHOUT_PROGRAMS]))


@nox.session
def lowest(session: nox.Session) -> None:
    """Run the suite and the proofs with the oldest direct dependencies that pyproject.toml allows."""
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    direct = [*PYPROJECT["project"]["dependencies"], *itertools.chain(*extras)]
    install(session, "tests", *(re.sub(r">=([\d.]+).*", r"==\1", each) for each in direct))
    session.run("pytest", *(session.posargs or [*IN_PARALLEL, *WITHOUT_PROGRAMS]))


@nox.session(python="3.11")
def fuzz(session: nox.Session) -> None:
    """Fuzz the decoder for ten minutes, or for the given number of seconds."""
    session.install("-e", ".", "atheris>=3")
    session.run("python", "tests/fuzz/fuzz_decoder.py", *session.posargs)


@nox.session
def long(session: nox.Session) -> None:
    """Run tests that take more than a few seconds, and large versions of the suite's: five minutes."""
    install(session, "tests")
    session.run("pytest", "-m", "long", "-n", "auto", "--dist", "worksteal", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """Start every program in examples/, stop it, kill it and make it fail; its frameworks' own warnings are allowed.

    The wall is tried in a browser: Debian's package chromium.
    """
    install(session, "examples")
    session.run("pytest", "-m", "examples", "-W", "default", "-n", "auto", *session.posargs, "tests/examples")


@nox.session
def endurance(session: nox.Session) -> None:
    """Kill pollers and workers 200 times, Redis 20; poll for ten minutes; churn a fleet; play every small history."""
    install(session, "examples")
    session.run("python", "tests/support/killed.py", "200")
    session.run("python", "tests/support/killed.py", "50", "--proxy")
    session.run("python", "tests/support/killed_redis.py", "200", "20")
    session.run("python", "tests/support/killed_recipes.py", "200")
    session.run("python", "tests/support/soak.py", "10")
    session.run("python", "tests/support/soak.py", "5", "--proxy")
    session.run("python", "tests/support/churn.py")
    session.run("python", "tests/support/small_histories.py")


@nox.session
def lint(session: nox.Session) -> None:
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    install(session, "types")
    session.run("mypy", "--strict", *TYPED)
    session.run("pyright", "--ignoreexternal", "--verifytypes", "greenapi_async")


@nox.session(python="3.11")
def docs(session: nox.Session) -> None:
    """Build the site, English first and Russian inside it; a dead link or reference fails."""
    shutil.rmtree("site", ignore_errors=True)
    session.install(*nox.project.dependency_groups(PYPROJECT, "docs"))
    for configuration in ("mkdocs.yml", "mkdocs.ru.yml"):
        session.run("zensical", "build", "--strict", "--config-file", configuration)


@nox.session(python="3.11")
def picture(session: nox.Session) -> None:
    """Draw README's picture; `-- --check` fails if it is out of date."""
    install(session, "picture")
    session.run("python", "docs/picture.py", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Check whether anything installed with the package has a known vulnerability; needs the network."""
    session.install("-e", ".", "pip-audit")
    session.run("pip-audit", "--skip-editable")


@nox.session
def bench(session: nox.Session) -> None:
    """Measure, and write docs/en/performance.md; `-- --quick` only tries every row."""
    session.install(".", "-r", "benchmarks/requirements.txt")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel and the source distribution, and test each away from the source tree."""
    shutil.rmtree("dist", ignore_errors=True)
    session.install("build", "twine", *nox.project.dependency_groups(PYPROJECT, "tests"))
    session.run("python", "-m", "build", "--quiet")
    built = [path.resolve() for path in Path("dist").iterdir()]
    session.run("twine", "check", "--strict", *map(str, built))

    tests = Path(session.create_tmp()).resolve()
    [sdist] = (path for path in built if path.name.endswith(".tar.gz"))
    shutil.unpack_archive(sdist, tests, filter="data")
    [unpacked] = tests.glob("greenapi_async-*")
    shutil.rmtree(unpacked / "greenapi_async")
    (unpacked / "greenapi_async_pytest.py").unlink()
    session.chdir(unpacked)
    for path in built:
        session.install(f"{path}[cli]")
        session.install("--force-reinstall", "--no-deps", str(path))  # The previous one has the same version.
        session.run("greenapi-async", "fetch", silent=True)
        session.run(
            "pytest",
            *IN_PARALLEL,
            "tests/cli/test_cli.py",
            "tests/simulator/test_simulator.py",
            "tests/test_client.py",
        )
