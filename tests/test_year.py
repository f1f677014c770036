"""A year of polling with everything that happens in one: nothing lost, nothing twice, and no more kept than needed."""

import random
import sqlite3
from contextlib import closing, nullcontext

import anyio
import attrs
import pytest
from world import FakePage

from greenapi_async import MemoryStore, SQLiteStore, TextStatus, TransportError
from greenapi_async._api.instance import Answer
from greenapi_async._polling.ladder import Ladder
from greenapi_async.poller import StatusPoller

HOUR = 3600.0
DAY = 24 * HOUR
EPOCH = 1_800_000_000.0
INTERVAL = 3 * HOUR
A_DAY = 12
long = pytest.mark.long


class Year:
    """A server, its outages, and a consumer that is restarted now and then, sometimes in the middle.

    Attributes:
        days: how long it is, if not a year.
    """

    id_instance = "1"

    def __init__(self, store_of, days):
        self.days = days
        self.dice = random.Random(365)
        self.store_of = store_of
        self.now = EPOCH
        self.arrivals = sorted(self._arrivals(), key=lambda arrival: arrival.at)
        self.outages = [
            (EPOCH + self.dice.uniform(0, days) * DAY, self.dice.uniform(0, 3) * DAY)
            for _ in range(25 * days // 365)
        ]
        self.handled = []
        self.sizes = []

    async def play(self):
        poller = self._poller()
        while self.now < EPOCH + (self.days + 5) * DAY:
            self.now += INTERVAL * self.dice.uniform(0.9, 1.1)
            try:
                batch = await poller.poll_once()
            except TransportError:
                continue

            crashes = self.dice.random() < 0.02
            if not crashes:
                await batch.commit()
                self.handled += [status.id_message for status in batch.statuses]
            if crashes or self.dice.random() < 0.02:
                await poller._feed._store.aclose()
                poller = self._poller()
                self.sizes.append(await size_of(poller._feed._store))

        await poller._feed._store.aclose()

    def most_in(self, days):
        """Return the largest number of statuses that show up within so many days."""
        times = [arrival.at for arrival in self.arrivals]
        return max(sum(start <= at <= start + days * DAY for at in times) for start in times[::A_DAY])

    def check_open(self):
        """Nobody closes it."""

    def until_closed(self):
        return nullcontext()

    async def page(self, minutes):
        if any(began <= self.now < began + length for began, length in self.outages):
            raise TransportError("an outage")

        since = self.now - 60 * min(minutes, 43_200)
        shown = [
            TextStatus(id_message=arrival.id_message, timestamp=arrival.timestamp, chat_id="1@c.us")
            for arrival in self.arrivals
            if arrival.at <= self.now and arrival.timestamp >= since
        ]
        return Answer(page=FakePage(shown), date=float(int(self.now)), cached=False, duration=0.5)

    def _poller(self):
        return StatusPoller(
            self,
            store=self.store_of(),
            ladder=Ladder(interval=INTERVAL),
            delivery="at-least-once",
            on_event=None,
            clock=lambda: self.now,
        )

    def _arrivals(self):
        for number in range(self.days * A_DAY):
            at = EPOCH + self.dice.uniform(0, self.days) * DAY
            late = self.dice.choice([0.0, 0.0, 0.0, self.dice.uniform(0, 23) * HOUR])
            yield Arrival(at=at, timestamp=int(at - late), id_message=f"{number:032X}")


@attrs.frozen(kw_only=True)
class Arrival:
    at: float
    timestamp: int
    id_message: str


async def size_of(store):
    """Return how many ids a store keeps."""
    if isinstance(store, MemoryStore):
        return len(store._seen["1"].ids)

    with closing(sqlite3.connect(store.path)) as database:
        return database.execute("SELECT count(*) FROM seen").fetchone()[0]


@pytest.mark.parametrize(
    ("kind", "days"),
    [
        ("memory", 365),
        ("file", 100),
        pytest.param("file", 365, marks=long),
        pytest.param("file", 1_000, marks=long),
    ],
)
def test_year_loses_nothing_and_keeps_a_month(tmp_path, kind, days):
    """Outages of days, late statuses, restarts: every status once, and 31 days of ids."""
    path = tmp_path / "seen.db"
    memory = MemoryStore()
    year = Year((lambda: memory) if kind == "memory" else (lambda: SQLiteStore(path)), days)

    anyio.run(year.play)

    assert sorted(year.handled) == sorted(arrival.id_message for arrival in year.arrivals)
    assert max(year.sizes) <= year.most_in(days=31 + 3)
    if kind == "file":
        assert path.stat().st_size < 4 * 60 * year.most_in(days=31)
