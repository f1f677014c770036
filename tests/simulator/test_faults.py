"""The table of faults in the documentation: each line does what it says, over real sockets."""

import re
from pathlib import Path

import pytest
from clients import client_of

from greenapi_async import GreenApiError, simulator
from greenapi_async.simulator import Fault, Simulator, Spoil

PAGE = Path(__file__).parents[2] / "docs" / "en" / "how-to" / "testing.md"
CODE = re.compile(r"`([^`]+)`")


def rows():
    """Yield what goes wrong, one of its scripts, and the names of what comes of them."""
    table = PAGE.read_text("utf-8").partition("| what goes wrong |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        what, scripts, outcome = (cell.strip() for cell in line.strip("|").split(" | "))
        names = CODE.findall(outcome)
        for number, script in enumerate(CODE.findall(scripts)):
            named = names[number] if outcome.count("`, `") else names[0]
            yield pytest.param(script, named, id=f"{what.replace('`', '')}-{number}")


def scripted(api, script):
    """Run a line of the table; what it gives, if that is a fault or several, goes where faults go."""
    given = eval(script, {"api": api} | vars(simulator))
    api.faults.extend(given if isinstance(given, list) else [given] * isinstance(given, Fault))


async def outcome(client):
    try:
        statuses = await client.fetch(1440)
    except GreenApiError as error:
        return type(error).__name__

    kinds = {type(status).__name__ for status in statuses}
    return max(kinds) if kinds else "[]"  # A regular status comes along, and "U" is after "T".


@pytest.mark.anyio
@pytest.mark.parametrize(("script", "expected"), list(rows()))
async def test_a_line_of_the_table_does_what_it_says(script, expected):
    """And the question after it is answered as if nothing had been."""
    async with Simulator(max_rate=None) as api:
        api.post()
        scripted(api, script)
        timeout = 0.3 if "Delay" in script or "Drip" in script else 30.0
        async with client_of(api, timeout=timeout, max_body=2**21) as client:
            first = await outcome(client)
            api.faults.clear()
            second = await outcome(client)

    assert first == expected
    assert second in {"TextStatus", "UnknownStatus"}


def test_the_table_knows_every_fault():
    """A fault that nobody reads of is a fault that nobody scripts."""
    told = PAGE.read_text("utf-8")
    faults = [each for each in vars(simulator).values() if isinstance(each, type) and issubclass(each, Fault)]

    assert {each.__name__ for each in faults if f"`{each.__name__}(" not in told} == {"Fault"}


def asked(api, **headers):
    path = f"/waInstance{api.id_instance}/getIncomingStatuses/{api.token}"
    return api.respond(simulator.Request("GET", path, list(headers.items())))


def test_spoil_changes_an_answer_that_would_be_packed():
    """A big answer is gzipped for a client that takes it, but for one whose items are changed."""
    api = Simulator(max_rate=None)
    api.post(text="a" * 5000)
    api.faults.append(Spoil({"Age": "7"}, items=lambda items: [item["typeMessage"] for item in items]))

    answer = asked(api, **{"Accept-Encoding": "gzip"})

    assert answer.body == b'["extendedTextMessage"]'
    assert {("Content-Length", "23"), ("Age", "7")} <= set(answer.headers)
    assert "Content-Encoding" not in dict(answer.headers)


def test_spoil_leaves_the_body_of_a_refusal():
    api = Simulator(max_rate=1.0, clock=lambda: 0.0)
    api.faults.extend([None, Spoil({"Date": None}, items=len)])

    codes = [asked(api).http_code, (answer := asked(api)).http_code]

    assert codes == [200, 429]
    assert answer.body == b""
    assert "Date" not in dict(answer.headers)
