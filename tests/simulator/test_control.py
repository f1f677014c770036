"""The simulator for another language: statuses and faults over HTTP."""

import inspect
import json
import shutil
import subprocess
import sys

import anyio
import pytest
from clients import client_of
from command import COMMAND, environment
from hypothesis import given
from hypothesis import strategies as st

from greenapi_async import AsyncStatusesClient, ImageStatus, ServerError, simulator
from greenapi_async.simulator import Delay, Refuse, Request, Reset, Simulator, Truncate


def sent(api, method, path, body=None):
    """Send JSON, or bytes as they are; return the code and the response's text."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = api.respond(Request(method, f"/_simulator/{path}", body=content))
    return response.http_code, response.body.decode()


def test_a_status_is_posted_with_the_arguments_of_post():
    api = Simulator(clock=lambda: 1731500000.0)

    code, text = sent(api, "POST", "statuses", {"kind": "image", "caption": "Dawn", "late": 60, "extra": 1})

    item = json.loads(text)
    assert code == 200
    assert (item["typeMessage"], item["caption"], item["timestamp"], item["extra"]) == (
        *("imageMessage", "Dawn", 1731499940),
        1,
    )
    assert json.loads(
        api.respond(Request("GET", f"/waInstance{api.id_instance}/getIncomingStatuses/{api.token}")).body
    ) == [item]


@pytest.mark.parametrize(
    ("named", "fault"),
    [
        ({"Refuse": [502]}, Refuse(502)),
        ({"Reset": []}, Reset()),
        ({"Reset": [True]}, Reset(after_headers=True)),
        ({"Delay": [0.5]}, Delay(0.5)),
        ({"Truncate": [0.5, "chunked"]}, Truncate(0.5, "chunked")),
        ({"Refuse": [400, "no"]}, Refuse(400, "no")),
    ],
)
def test_a_fault_is_put_in(named, fault):
    api = Simulator()

    assert sent(api, "POST", "faults", named) == (200, '{"waiting":1}')
    assert sent(api, "POST", "faults", named) == (200, '{"waiting":2}')
    assert list(api.faults) == [fault, fault]


def test_all_faults_are_taken_out():
    api = Simulator()
    api.faults.extend([Refuse(502), None])

    assert sent(api, "DELETE", "faults", b"") == (200, '{"waiting":0}')
    assert not api.faults


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("faults", b"", "the body must be a JSON object"),
        ("faults", b"[" * 60_000, "the body must be a JSON object"),
        ("faults", b"\xff", "the body must be a JSON object"),
        ("faults", [{"Refuse": [502]}], "the body must be a JSON object"),
        ("faults", {}, "must be one fault"),
        ("faults", {"Refuse": [502], "Reset": []}, "must be one fault"),
        ("faults", {"Fault": []}, "must be one fault"),
        ("faults", {"Refused": [502]}, "of Refuse, Answer, Spoil, IgnoreMinutes"),
        ("faults", {"Refuse": 502}, "the arguments of Refuse must be a list"),
        ("faults", {"Refuse": [[502]]}, "the arguments of Refuse must be a list"),
        ("faults", {"Refuse": ["502"]}, "'code' must be"),
        ("faults", {"Refuse": []}, "missing 1 required positional argument: 'code'"),
        ("faults", {"Endless": ["bodies"]}, "'what' must be in"),
        ("statuses", b"text", "the body must be a JSON object"),
        ("statuses", {"kind": "sticker"}, "kind must be one of text, image"),
        ("statuses", {"kind": ["text"]}, "unhashable"),
        ("statuses", {"kind": "deleted"}, "needs of=, the status to delete"),
        ("statuses", {"late": "an hour"}, "unsupported operand"),
        ("statuses", {"at": 1e400}, "infinity"),
        ("statuses", {"self": 1}, "multiple values for argument 'self'"),
    ],
)
def test_what_is_wrong_is_refused_and_told(path, body, says):
    api = Simulator()

    code, text = sent(api, "POST", path, body)

    assert code == 400
    assert says in text
    assert not api.faults


@pytest.mark.parametrize(("method", "path"), [("GET", "statuses"), ("PUT", "faults"), ("POST", "clock")])
def test_there_is_no_more(method, path):
    code, text = sent(Simulator(), method, path)

    assert (code, text) == (404, "use POST statuses, POST faults or DELETE faults")


def test_control_takes_no_fault_and_counts_as_no_request():
    api = Simulator()
    api.faults.append(Refuse(502))

    assert sent(api, "POST", "statuses", {})[0] == 200
    assert len(api.faults) == 1
    assert api.requests == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=5,
)
ARGUMENTS = [
    name for name in inspect.signature(Simulator.post).parameters if name not in {"self", "fields"}
] + ["self", "idMessage", "timestamp", "senderId"]
KINDS = st.sampled_from(["text", "image", "video", "audio", "deleted"])
STATUSES = st.dictionaries(st.sampled_from(ARGUMENTS), JSON, max_size=4)
FAULTS = st.dictionaries(
    st.sampled_from(
        [name for name in simulator.__all__ if name != "Bomb"]
    ),  # It takes as long as it is large.
    JSON | st.lists(st.integers() | st.floats() | st.text(), max_size=3),
)


@given(
    statuses=st.lists(
        STATUSES | st.tuples(STATUSES, KINDS).map(lambda each: each[0] | {"kind": each[1]}) | JSON, max_size=3
    ),
    scripted=st.lists(FAULTS | JSON, max_size=3),
)
def test_nothing_that_is_sent_ends_the_simulator(statuses, scripted):
    """Whatever is put in, it is refused with 400, or every later request gets a response."""
    api = Simulator(max_rate=None)

    codes = {
        sent(api, "POST", path, each)[0]
        for path, all_ in (("statuses", statuses), ("faults", scripted))
        for each in all_
    }
    waiting = len(api.faults)
    request = Request("GET", f"/waInstance{api.id_instance}/getIncomingStatuses/{api.token}?minutes=43200")
    responses = [api.respond(request) for _ in range(waiting + 1)]

    assert codes <= {200, 400}
    assert responses[-1].http_code == 200


@pytest.fixture
def command():
    """The command as another language's test starts it, and what it prints first."""
    process = subprocess.Popen(
        [*COMMAND, "simulator", "--json", "--no-demo"], env=environment(), stdout=subprocess.PIPE, text=True
    )
    yield json.loads(process.stdout.readline())
    process.kill()
    process.communicate()


async def fetched(where):
    async with AsyncStatusesClient(
        where["id"], where["token"], api_url=where["url"], retries=0, max_rate=None
    ) as client:
        return await client.fetch()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_posts_statuses_and_faults(command):
    def curl(path, *arguments):
        shown = subprocess.check_output(
            ["curl", "--noproxy", "*", "-sS", f"{command['url']}/_simulator/{path}", *arguments], timeout=30
        )
        return json.loads(shown)

    posted = curl("statuses", "-d", '{"kind": "image", "caption": "Рассвет"}')
    assert curl("faults", "-d", '{"Refuse": [502]}') == {"waiting": 1}

    with pytest.raises(ServerError):
        anyio.run(fetched, command)

    assert curl("faults", "-X", "DELETE") == {"waiting": 0}
    anyio.run(anyio.sleep, 1.0)  # The simulator admits one request a second, as the API does.
    [status] = anyio.run(fetched, command)
    assert (type(status), status.id_message, status.caption) == (ImageStatus, posted["idMessage"], "Рассвет")


NODE = """
const [url] = process.argv.slice(-1);
const body = JSON.stringify({kind: "text", text: "Привет"});
const posted = await (await fetch(url + "/_simulator/statuses", {method: "POST", body})).json();
console.log(posted.textMessage);
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_node_posts_statuses(command):
    shown = subprocess.check_output(
        ["node", "--input-type=module", "--eval", NODE, command["url"]], text=True, timeout=60
    )

    assert shown == "Привет\n"


def test_the_standard_address_is_what_json_says(command):
    """One line, and nothing after it: no demo."""
    assert command.keys() == {"id", "token", "url"}
    assert anyio.run(fetched, command) == []


@pytest.mark.anyio
async def test_a_body_over_the_limit_is_refused():
    import httpx

    async with Simulator() as api, httpx.AsyncClient(trust_env=False) as http:
        response = await http.post(f"{api.url}/_simulator/statuses", json={"text": "a" * 70_000})
        ok = await http.post(f"{api.url}/_simulator/statuses", json={"text": "a" * 60_000})

        async with client_of(api) as client:
            [status] = await client.fetch()

    assert (response.status_code, ok.status_code) == (413, 200)
    assert len(status.text_message) == 60_000


def test_no_demo_and_chaos_exclude_each_other():
    run = subprocess.run(
        [sys.executable, "-m", "greenapi_async", "simulator", "--no-demo", "--chaos", "7"],
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
    )

    assert run.returncode == 2
    assert "not allowed with" in run.stderr
