"""At the borders with other libraries: injectors, web frameworks, URL objects, type checks at run time."""

import inspect
import json
import typing
from datetime import timedelta
from types import MappingProxyType

import attrs
import httpx
import pytest
from clients import client, client_of, injected
from fake_api import HOST, ID, TOKEN, FakeApi

import greenapi_async
from greenapi_async import (
    AsyncStatusesClient,
    ConfigurationError,
    MemoryStore,
    SQLiteStore,
    Store,
    UnknownStatus,
    events,
    from_dict,
    models,
    poller,
    simulator,
    stores,
    to_dict,
)
from greenapi_async.client import Settings
from greenapi_async.simulator import Simulator

PUBLIC = {
    f"{module.__name__}.{name}": value
    for module in (greenapi_async, events, models, poller, stores, simulator, simulator.faults)
    for name, value in vars(module).items()
    if (inspect.isclass(value) or inspect.isfunction(value)) and not name.startswith("_")
    if name in getattr(module, "__all__", ()) or getattr(value, "__module__", "") == module.__name__
}


def hinted():
    """Yield every public class and function, and the methods and properties of the classes."""
    for name, value in PUBLIC.items():
        yield name, value
        if inspect.isclass(value):
            for member_name, member in inspect.getmembers(value):
                function = member.fget if isinstance(member, property) else member
                private = member_name.startswith("_") and not member_name.endswith("__")
                if (
                    inspect.isfunction(function)
                    and not private
                    and getattr(function, "__module__", "").startswith("greenapi_")
                ):
                    yield f"{name}.{member_name}", function


def test_annotations_resolve():
    """Injectors and web frameworks evaluate them: a name that only a type checker imports is a NameError there."""
    wrong = {}
    for name, value in hinted():
        try:
            typing.get_type_hints(value)
        except NameError as error:
            wrong[name] = str(error)

    assert wrong == {}


def test_an_httpx_client_is_injected_by_its_own_type():
    hints = typing.get_type_hints(AsyncStatusesClient.__init__)

    assert hints["http_client"] == httpx.AsyncClient | None


ITEM = {
    "type": "incoming",
    "idMessage": "3EB0",
    "timestamp": 1731500000,
    "typeMessage": "extendedTextMessage",
    "chatId": "79001234567@c.us",
    "textMessage": "Hello",
    "extendedTextMessage": {"text": "Hello", "new": {"a": [1]}},
    "participants": [{"id": 1}],
}


@pytest.mark.parametrize("changes", [{}, {"typeMessage": "stickerMessage"}, {"timestamp": "x"}])
def test_a_status_shares_nothing_with_the_object_it_was_read_from(changes):
    obj = {**ITEM, **changes, "participants": [{"id": 1}], "extendedTextMessage": {"new": {"a": [1]}}}
    status = from_dict(obj)
    before = json.dumps(to_dict(status))

    obj["participants"][0]["id"] = 2
    obj["extendedTextMessage"]["new"]["a"].append(2)

    assert json.dumps(to_dict(status)) == before


@pytest.mark.parametrize("changes", [{}, {"typeMessage": "stickerMessage"}, {"timestamp": "x"}])
def test_a_status_shares_nothing_with_the_object_it_is_written_to(changes):
    status = from_dict(json.loads(json.dumps(ITEM | changes)))
    obj = to_dict(status)
    before = json.dumps(obj)

    obj["participants"][0]["id"] = 2
    obj["extendedTextMessage"]["new"]["a"].append(2)
    obj["added"] = True

    assert json.dumps(to_dict(status)) == before


def test_a_status_is_read_from_any_mapping():
    assert from_dict(MappingProxyType(ITEM)) == from_dict(ITEM)


def test_what_is_nested_beyond_reason_is_read_and_written_all_the_same():
    deep = []
    for _ in range(100_000):
        deep = [deep]

    status = from_dict(deep)

    assert isinstance(status, UnknownStatus)
    assert to_dict(status) is status.raw


def test_a_store_is_told_by_isinstance():
    assert isinstance(MemoryStore(), Store)
    assert isinstance(SQLiteStore("seen.db"), Store)
    assert not isinstance(object(), Store)


@pytest.mark.parametrize("store", [MemoryStore, SQLiteStore])
def test_the_class_of_a_store_is_told_as_that(store):
    with pytest.raises(ConfigurationError, match=f"the class {store.__name__}: call it"):
        client(FakeApi()).poll(store=store)


class YarlUrl:
    """What we need of yarl.URL: its `str` is the address."""

    def __init__(self, url):
        self._url = url
        self.scheme = httpx.URL(url).scheme
        self.host = httpx.URL(url).host

    def __str__(self):
        return self._url


@pytest.mark.parametrize("url_type", [httpx.URL, YarlUrl])
def test_a_url_object_is_an_api_url(url_type):
    given = url_type("https://1101.api.green-api.com/v3/")
    first = AsyncStatusesClient(ID, TOKEN, api_url=given)

    assert repr(first).endswith("at https://1101.api.green-api.com/v3>")
    assert "7103.api" in repr(
        first.for_instance(1, "token", api_url=url_type("https://7103.api.green-api.com"))
    )


@pytest.mark.parametrize("url", [None, b"https://1101.api.green-api.com", 7, object(), ["https://x.example"]])
def test_what_spells_no_url_is_no_api_url(url):
    with pytest.raises(ConfigurationError, match="api_url must"):
        AsyncStatusesClient(ID, TOKEN, api_url=url)


@pytest.mark.parametrize("interval", [60, 60.0, timedelta(minutes=1)])
def test_an_interval_may_be_a_timedelta(interval):
    assert client(FakeApi()).poll(interval)._interval == 60


@pytest.mark.parametrize(
    ("interval", "says"),
    [
        (timedelta(0), "positive"),
        (timedelta(seconds=-1), "positive"),
        (timedelta(days=2), "at most 86400"),
        ("60", "timedelta"),
    ],
)
def test_an_interval_that_cannot_be_is_refused(interval, says):
    with pytest.raises(ConfigurationError, match=f"interval must be .*{says}"):
        client(FakeApi()).poll(interval)


@pytest.mark.anyio
async def test_a_timeout_may_be_a_timedelta():
    async with Simulator() as api, client_of(api, timeout=timedelta(seconds=0.2)) as hasty:
        api.faults.append(simulator.Delay(60))

        with pytest.raises(greenapi_async.TransportError, match=r"within 0\.2 s"):
            await hasty.fetch()


@pytest.mark.anyio
async def test_the_environments_client_takes_the_settings_of_any(monkeypatch):
    """Its own httpx client, above all."""
    monkeypatch.setenv("GREEN_API_ID_INSTANCE", ID)
    monkeypatch.setenv("GREEN_API_TOKEN_INSTANCE", TOKEN)
    monkeypatch.setenv("GREEN_API_URL", HOST)
    api = FakeApi()

    async with (
        injected(api) as http_client,
        AsyncStatusesClient.from_env(
            http_client=http_client, timeout=5, retries=0, max_rate=None, max_body=10, clock=lambda: 0.0
        ) as mine,
    ):
        await mine.fetch()

    assert len(api.asked) == 1
    assert list(Settings.__annotations__) == list(inspect.signature(AsyncStatusesClient).parameters)[3:]
    hints = typing.get_type_hints(AsyncStatusesClient.__init__)
    assert {name: hints[name] for name in Settings.__annotations__} == typing.get_type_hints(Settings)


def test_a_health_is_written_as_json_by_attrs():
    """The line of the docs for a web framework."""
    health = events.Health(last_error=greenapi_async.AuthenticationError("no"))

    shown = json.loads(json.dumps(attrs.asdict(health), default=str))

    assert shown["state"] == "starting"
    assert shown["last_error"] == "HTTP 401: no"


def test_the_version_is_told():
    assert greenapi_async.__version__.count(".") == 2
