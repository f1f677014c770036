"""The simulator as a test kit: what is put in wrongly is refused there, and it runs beside code that is not async."""

import os
import subprocess
import sys
import threading
import unittest
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from urllib.request import Request as UrlRequest
from urllib.request import urlopen

import anyio
import httpx
import pytest
from clients import client_of

from greenapi_async import AsyncStatusesClient, DeletedStatus, ServerError
from greenapi_async.simulator import (
    Answer,
    Bomb,
    Delay,
    Drip,
    Endless,
    Fault,
    IgnoreMinutes,
    Refuse,
    Reset,
    Simulator,
    Spoil,
    Truncate,
)

WRONG = [502, "Refuse", Refuse, [Refuse(429)] * 5, object()]


# A socket that fails to listen or to connect, which anyio left open until 4.16.
unclosed = pytest.mark.usefixtures("nothing_left_to_collect")


async def fetched(api, **settings):
    async with client_of(api, **settings) as client:
        return await client.fetch()


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("name", ["faults", "media_faults"])
def test_what_is_no_fault_is_refused_where_it_is_put_in(name, wrong):
    """It ended the simulator with an ExceptionGroup, a request later."""
    api = Simulator()
    queue = getattr(api, name)
    queue.append(None)

    for put in (
        lambda: queue.append(wrong),
        lambda: queue.appendleft(wrong),
        lambda: queue.extend([Reset(), wrong]),
        lambda: queue.extendleft([Reset(), wrong]),
        lambda: queue.insert(0, wrong),
        lambda: queue.__setitem__(0, wrong),
        lambda: queue.__iadd__([wrong]),
        lambda: setattr(api, name, [wrong]),
    ):
        with pytest.raises(TypeError, match=r"such as Refuse\(502\)"):
            put()

    assert list(queue) == [None]


def test_the_refusal_says_what_was_meant():
    with pytest.raises(TypeError, match="the class Refuse itself: call it"):
        Simulator().faults.append(Refuse)

    with pytest.raises(TypeError, match="extend adds several"):
        Simulator().faults.append([Refuse(429)])


def test_a_queue_of_faults_is_still_a_deque():
    api = Simulator()
    api.faults = [Refuse(502)]
    api.faults.appendleft(Reset())
    api.faults += (None,)
    api.faults.insert(1, Refuse(429))
    api.faults[0] = Delay(1)

    assert api.faults == deque([Delay(1), Refuse(429), Refuse(502), None])


@pytest.mark.parametrize(
    "make",
    [
        lambda: Refuse("502"),
        lambda: Refuse(100),
        lambda: Refuse(1000),
        lambda: Refuse(400, {"a": object()}),
        lambda: Refuse(400, "", "текст"),
        lambda: Answer(object()),
        lambda: Answer([], {"X": 1}),
        lambda: Answer([], {"X": "текст"}),
        lambda: Answer([], {}, "200"),
        lambda: Spoil({"Date": 0}),
        lambda: Spoil(items=[]),
        lambda: IgnoreMinutes("60"),
        lambda: Bomb(0),
        lambda: Bomb(2**40),
        lambda: Delay("5"),
        lambda: Delay(-1),
        lambda: Delay(1, 502),
        lambda: Drip("1"),
        lambda: Reset("after"),
        lambda: Truncate("half"),
        lambda: Truncate(float("inf")),
        lambda: Truncate(framing="chunks"),
        lambda: Endless("bodies"),
    ],
)
def test_a_fault_that_cannot_work_is_refused_when_it_is_made(make):
    with pytest.raises((TypeError, ValueError)):
        make()


def test_a_fault_of_ones_own_is_one():
    class Teapot(Fault):
        pass

    Simulator().faults.append(Teapot())


def test_a_deletion_needs_what_it_deletes():
    with pytest.raises(ValueError, match="needs of=, the status to delete"):
        Simulator().post("deleted")


def test_only_a_deletion_takes_what_it_deletes():
    with pytest.raises(ValueError, match="'image' deletes none"):
        Simulator().post("image", of="3EB0")


def test_a_kind_that_does_not_exist_is_told_first():
    with pytest.raises(
        ValueError, match="kind must be one of text, image, video, audio, deleted, not 'delete'"
    ):
        Simulator().post("delete", of="3EB0")


@pytest.mark.parametrize("of", [7, True, ["3EB0"], {"idMessage": 7}])
def test_a_deletion_of_something_else_is_a_type_error(of):
    with pytest.raises(TypeError, match="the status to delete or its idMessage, not"):
        Simulator().post("deleted", of=of)


@pytest.mark.parametrize("of", ["", {}, {"idMessage": ""}])
def test_a_deletion_of_what_has_no_id_is_a_value_error(of):
    with pytest.raises(ValueError, match="no idMessage"):
        Simulator().post("deleted", of=of)


@pytest.mark.anyio
async def test_a_deletion_takes_an_id_a_dict_or_a_status():
    async with Simulator(max_rate=None) as api:
        posted = api.post()
        [received] = await fetched(api)

        deletions = [
            api.post("deleted", of=of)["idMessage"] for of in (posted["idMessage"], posted, received)
        ]
        statuses = await fetched(api)

    assert deletions == [posted["idMessage"]] * 3
    assert [type(status) for status in statuses[1:]] == [DeletedStatus] * 3


def test_without_async_it_listens_in_a_thread():
    """As a Django or Flask test uses it, or a notebook."""
    with Simulator() as api:
        api.post(text="🌷")
        url = f"{api.url}/waInstance{api.id_instance}/getIncomingStatuses/{api.token}"
        response = httpx.get(url, trust_env=False)

    assert [item["textMessage"] for item in response.json()] == ["🌷"]
    assert api.connections == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(url, trust_env=False)


@pytest.mark.anyio
async def test_the_one_in_a_thread_serves_either_event_loop():
    with Simulator(max_rate=None) as api:
        api.post()
        api.faults.append(Refuse(502))

        with pytest.raises(ServerError):
            await fetched(api)

        assert len(await fetched(api)) == 1


def test_it_can_be_entered_again_at_the_same_address():
    with Simulator() as api:
        first = api.url
        api.post()

    with api:
        assert api.url == first
        assert anyio.run(fetched, api)


def test_entered_twice_it_goes_on_listening():
    with Simulator() as api:
        with pytest.raises(RuntimeError, match="already"), api:
            pass  # pragma: no cover

        assert anyio.run(fetched, api) == []


@unclosed
def test_a_port_that_is_taken_is_an_os_error():
    with Simulator() as api, pytest.raises(OSError, match="in use"), Simulator(port=httpx.URL(api.url).port):
        pass  # pragma: no cover


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_the_block_raises_comes_out_as_it_is(error):
    """Also a Ctrl-C, which ends an event loop that it is raised in."""
    api = Simulator()

    with pytest.raises(error), api:
        raise error

    assert threading.active_count() == 1 or not any("portal" in each.name for each in threading.enumerate())


@unclosed
def test_leaving_does_not_wait_for_a_slow_response():
    with Simulator() as api:
        api.faults.append(Delay(600))

        async def requested():
            with anyio.move_on_after(0.2):
                await fetched(api)

        anyio.run(requested)


def test_it_can_be_left_from_another_thread():
    """As in a notebook: entered in one cell, left in another."""
    api = Simulator().__enter__()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(api.__exit__, None, None, None).result(timeout=10)

    assert api.connections == 0


def test_posts_of_four_threads_all_arrive():
    """While it responds, with faults put in beside."""

    def post(number):
        for _ in range(500):
            api.post(sender=f"{number}@c.us")
            api.faults.append(None)

    with Simulator(max_rate=None) as api, ThreadPoolExecutor(4) as pool:
        posting = [pool.submit(post, number) for number in range(4)]
        while not all(each.done() for each in posting):
            assert anyio.run(fetched, api) is not None

        for each in posting:
            each.result()

        api.faults.clear()
        statuses = anyio.run(fetched, api)

    assert len(statuses) == len({status.id_message for status in statuses}) == 2000


def test_its_clock_can_be_moved_from_the_tests_thread():
    with Simulator(max_rate=None) as api:
        api.post()
        now = api.clock() + 86_400 * 2
        api.clock = lambda: now

        assert anyio.run(fetched, api) == []


def test_its_environment_points_a_client_at_it(monkeypatch):
    with Simulator(base_path="/v3") as api:
        for name, value in api.env.items():
            monkeypatch.setenv(name, value)

        api.post()

        async def fetch():
            async with AsyncStatusesClient.from_env() as client:
                return await client.fetch()

        assert len(anyio.run(fetch)) == 1


def test_its_environment_points_another_program_at_it():
    script = "import os; print(*(os.environ[name] for name in sorted(os.environ) if name.startswith('GREEN_API_')))"

    with Simulator() as api:
        shown = subprocess.check_output([sys.executable, "-c", script], env=os.environ | api.env, text=True)

    assert shown.split() == [api.id_instance, api.token, api.url]


class TestInUnittest(unittest.TestCase):
    """A `TestCase` holds it by `enterContext`, and its test runs a loop of its own."""

    def setUp(self):
        self.api = self.enterContext(Simulator())

    def test_a_bot(self):
        self.api.post()

        assert len(anyio.run(fetched, self.api)) == 1


def test_a_download_takes_its_own_faults():
    with Simulator(max_rate=None) as api:
        url = api.post("image")["downloadUrl"]
        api.media_faults.extend([Refuse(503), None])

        codes = [httpx.get(url, trust_env=False).status_code for _ in range(3)]

    assert codes == [503, 200, 200]


def test_the_standard_librarys_client_can_use_it():
    with Simulator() as api:
        url = f"{api.url}/waInstance{api.id_instance}/getIncomingStatuses/{api.token}"
        with urlopen(UrlRequest(url, headers={"Connection": "close"})) as response:
            assert response.read() == b"[]"
