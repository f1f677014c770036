"""The Python blocks of the documentation run as a reader would run them, against the simulator."""

import signal
from collections.abc import Iterator

import pytest
from abroad import World, ctrl_c_when_idle, world
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

from greenapi_async._http.transport import ssl_context

_evaluate = PythonEvaluator()


@pytest.fixture(scope="module")
def example_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Set the variables that an example reads, in a directory of its own; nothing else is changed for it."""
    with world() as (api, variables), pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        for name, value in variables.items():
            patch.setenv(name, value)
        ssl_context.cache_clear()  # A process makes one, and other tests' certificates are not the examples'.
        yield api
    ssl_context.cache_clear()


def run(example: Example) -> None:
    """Run a block; one that goes on for ever ends by Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with ctrl_c_when_idle(example.namespace["example_api"]):
            _evaluate(example)
    finally:
        signal.signal(signal.SIGINT, before)


pytest_collect_file = Sybil(
    parsers=[CodeBlockParser("python", run)],
    patterns=["README*.md", "docs/*/*.md", "docs/*/*/*.md"],
    fixtures=["example_api"],
).pytest()
