"""The roster alone, in a world without I/O: whose turn it is while hosts hang and consumers are slow."""

import math
import random
from collections import Counter, defaultdict
from heapq import heappop, heappush
from itertools import count, pairwise

import attrs
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from greenapi_async._fleet import roster as _roster
from greenapi_async._fleet.roster import MOST_OF_A_HOST, Roster, Seat

INTERVAL = 60.0
TIMEOUT = 60.0


@attrs.frozen(kw_only=True)
class Load:
    """What a roster has to bear.

    Attributes:
        hosts: how many instances there are on each.
        hanging: hosts that never respond, from the beginning on.
        responds_in: seconds.
        handled_in: seconds that a batch takes, by the number of the host; others find nothing.
        slots: the roster's.
    """

    hosts: tuple[int, ...] = (75,) * 8
    hanging: frozenset[int] = frozenset()
    responds_in: float = 0.1
    handled_in: dict[int, float] = attrs.field(factory=dict)
    slots: int = 100
    minutes: int = 20


class World:
    """Bears a load for a while, and keeps what it saw."""

    def __init__(self, load):
        self.load = load
        self.roster = Roster(load.slots)
        self.numbers = {}
        self.polls = defaultdict(list)
        self.under_way = Counter()
        self.most_under_way = Counter()
        self.busy = self.busiest = 0
        self._events = []
        self._order = count()

    def play(self):
        luck = random.Random(7)
        for number, instances in enumerate(self.load.hosts):
            for _ in range(instances):
                seat = Seat(host=self.roster.host(f"https://{number}"))
                self.numbers[seat] = number
                self.roster.plan(seat, luck.random() * INTERVAL)

        now = 0.0
        while now < self.load.minutes * 60:
            for seat in self.roster.start(now):
                self._begin(seat, now)
            now = min(self.roster.next_at(now), self._events[0][0] if self._events else math.inf)
            while self._events and self._events[0][0] <= now:
                heappop(self._events)[2](now)
        return self

    def _begin(self, seat, now):
        host = self.numbers[seat]
        self.polls[seat].append(now)
        self.under_way[host] += 1
        self.most_under_way[host] = max(self.most_under_way[host], self.under_way[host])
        self.busy += 1
        self.busiest = max(self.busiest, self.busy)
        hangs = host in self.load.hanging
        self._at(now + (TIMEOUT if hangs else self.load.responds_in), lambda at: self._respond(seat, now, at))

    def _respond(self, seat, began, now):
        host = self.numbers[seat]
        self.under_way[host] -= 1
        self.roster.responded(seat, hangs=host in self.load.hanging)
        handled_in = self.load.handled_in.get(host)
        if handled_in is None:
            self._settle(seat, began + INTERVAL)
        else:
            self._at(now + handled_in, lambda at: self._settle(seat, max(at, began + INTERVAL)))

    def _settle(self, seat, next_at):
        self.busy -= 1
        self.roster.settled(seat, next_at)

    def _at(self, at, what):
        heappush(self._events, (at, next(self._order), what))

    def gaps(self, seat):
        """Return the seconds between polls, the first minute and the last included."""
        times = [0.0, *self.polls[seat], self.load.minutes * 60.0]
        return [later - earlier for earlier, later in pairwise(times)]


HANGING = Load(hanging=frozenset({0, 1, 2, 3}))
LOADS = {
    "four of eight hosts hang": HANGING,
    "twenty of forty hosts hang": Load(hosts=(20,) * 40, hanging=frozenset(range(20))),
    "one of two hosts hangs": Load(hosts=(300, 300), hanging=frozenset({0})),
    "a host alone": Load(hosts=(1000,)),
    "a slow consumer of one host's": Load(handled_in={0: 40.0}, hosts=(50, 300)),
    "few slots": Load(hosts=(20, 20), slots=3),
    "one slot": Load(hosts=(5, 5), slots=1),
    "consumers slower than the statuses": Load(
        hosts=(30, 30), slots=5, handled_in={0: 30.0, 1: 30.0}, minutes=60
    ),
}


def broken_promises(load):
    """Return every promise that the roster broke: bounds, and that nobody is starved."""
    world = World(load).play()
    broken = []
    if world.busiest > load.slots:
        broken.append("more than there are slots")
    if any(most > MOST_OF_A_HOST for most in world.most_under_way.values()):
        broken.append("more than a host's share")
    if any(world.under_way[host] > 1 for host in load.hanging):
        broken.append("a host that hangs has more than one share")

    slowest = max(load.handled_in.values(), default=0.0) + load.responds_in
    turn = max(INTERVAL, sum(load.hosts) * slowest / load.slots if load.handled_in else 0.0)
    for seat, host in world.numbers.items():
        patience = 1.1 * turn if host not in load.hanging else load.hosts[host] * TIMEOUT * 2
        if max(world.gaps(seat)) > patience + slowest:
            broken.append(f"an instance of {host} waits for {max(world.gaps(seat)):.0f} s")
            break

    return broken


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_bounds_hold_and_nobody_is_starved(load):
    assert broken_promises(load) == []


def test_healthy_hosts_keep_their_polls_beside_four_that_hang():
    """From the first minute on, in which nobody knows yet which they are."""
    world = World(HANGING).play()
    expected = HANGING.minutes * 60 / INTERVAL
    for host in range(8):
        polls = [len(world.polls[seat]) for seat, number in world.numbers.items() if number == host]
        assert (sum(polls) >= 0.98 * expected * len(polls)) == (host not in HANGING.hanging)


def _more_than_the_slots(monkeypatch):
    monkeypatch.setattr(
        _roster, "_has_room", lambda host, _: host.under_way < (1 if host.hangs else MOST_OF_A_HOST)
    )


def _all_shares_to_the_first(monkeypatch):
    monkeypatch.setattr(_roster, "_has_room", lambda host, free: free > 0 and host.under_way < MOST_OF_A_HOST)


def _hanging_is_forgotten(monkeypatch):
    responded = Roster.responded
    monkeypatch.setattr(
        Roster, "responded", lambda roster, seat, *, hangs: responded(roster, seat, hangs=None)
    )


def _no_share_of_a_host(monkeypatch):
    monkeypatch.setattr(_roster, "MOST_OF_A_HOST", 10_000)


def _the_share_is_kept_with_the_slot(monkeypatch):
    monkeypatch.setattr(Roster, "responded", _responded_when_settled(Roster.responded))


def _responded_when_settled(responded):
    def keep(roster, seat, *, hangs):
        if hangs is None:
            responded(roster, seat, hangs=False)

    return keep


def _the_slot_is_kept(monkeypatch):
    settled = Roster.settled

    def keep(roster, seat, next_at):
        stays = settled(roster, seat, next_at)
        roster._free -= 1
        return stays

    monkeypatch.setattr(Roster, "settled", keep)


def _the_last_is_next(monkeypatch):
    monkeypatch.setattr(Roster, "_queue", _queue_in_front)


def _queue_in_front(roster, seat):
    seat.state = "waiting"
    seat.host.waiting.appendleft(seat)
    roster._waiting[seat.host] = None


def _one_host_first(monkeypatch):
    def next_host(roster):
        free = roster._free
        first = min(roster._waiting, key=lambda host: -len(host.waiting), default=None)
        return first if first is not None and _roster._has_room(first, free) else None

    monkeypatch.setattr(Roster, "_next_host", next_host)


MUTANTS = [
    _more_than_the_slots,
    _all_shares_to_the_first,
    _hanging_is_forgotten,
    _no_share_of_a_host,
    _the_share_is_kept_with_the_slot,
    _the_slot_is_kept,
    _the_last_is_next,
    _one_host_first,
]


@pytest.mark.parametrize("mutate", MUTANTS, ids=lambda mutate: mutate.__name__.strip("_"))
def test_mutant_breaks_a_promise(mutate, monkeypatch):
    mutate(monkeypatch)

    assert any(broken_promises(load) for load in LOADS.values())


class Books(RuleBasedStateMachine):
    """In any order of events each slot and share that is taken comes back once, and who is removed never begins."""

    NUMBERS, HOSTS = st.integers(0, 9), st.sampled_from("abc")

    @initialize(slots=st.integers(1, 4))
    def begin(self, slots):
        self.slots, self.roster, self.now = slots, Roster(slots), 0.0
        self.seats, self.busy, self.asking = {}, set(), set()

    @rule(number=NUMBERS, host=HOSTS, after=st.integers(0, 3))
    def plan(self, number, host, after):
        seat = self.seats.setdefault(number, Seat(host=self.roster.host(host)))
        self.roster.plan(seat, self.now + after)

    @rule(number=NUMBERS, host=HOSTS)
    def move(self, number, host):
        if number in self.seats:
            self.roster.move(self.seats[number], self.roster.host(host))

    @rule(number=NUMBERS)
    def remove(self, number):
        if number in self.seats and self.roster.remove(self.seats[number]):
            del self.seats[number]

    @rule(after=st.integers(0, 3))
    def start(self, after):
        self.now += after
        started = self.roster.start(self.now)
        assert not self.busy & {*started}
        assert all(seat.is_wanted and seat in self.seats.values() for seat in started)
        self.busy |= {*started}
        self.asking |= {*started}

    @rule(number=NUMBERS, hangs=st.sampled_from([True, False, None]))
    def respond(self, number, hangs):
        if (seat := self.seats.get(number)) in self.busy:
            self.roster.responded(seat, hangs=hangs)
            self.asking.discard(seat)

    @rule(number=NUMBERS, after=st.sampled_from([0.0, 2.0, math.inf]))
    def settle(self, number, after):
        if (seat := self.seats.get(number)) in self.busy:
            self.busy.discard(seat)
            self.asking.discard(seat)
            if not self.roster.settled(seat, self.now + after):
                del self.seats[number]

    @invariant()
    def the_books_balance(self):
        assert self.roster._free == self.slots - len(self.busy) >= 0
        assert self.roster._requests == len(self.asking)

    def teardown(self):
        """Nobody who has a turn is forgotten."""
        for number in [*self.seats]:
            self.settle(number, math.inf)
        due = {seat for seat in self.seats.values() if seat.due < math.inf}
        seen = set()
        while started := self.roster.start(self.now + 10):
            seen |= {*started}
            for seat in started:
                self.roster.settled(seat, math.inf)
        assert seen == due


TestBooks = Books.TestCase


def test_a_turn_that_comes_before_is_kept():
    """A renewed token does not put an instance off; one that gave up has a turn again."""
    roster = Roster(1)
    seat = Seat(host=roster.host("a"))
    roster.plan(seat, 5.0)
    roster.plan(seat, 9.0)
    assert roster.next_at(0.0) == 5.0
    roster.plan(seat, 3.0)
    assert roster.next_at(0.0) == 3.0

    [started] = roster.start(3.0)
    roster.settled(started, math.inf)
    assert roster.next_at(3.0) == math.inf
    roster.plan(seat, 7.0)
    assert roster.next_at(3.0) == 7.0


def test_hosts_are_forgotten_with_their_last_instance():
    roster = Roster(1)
    for number in range(100):
        seat = Seat(host=roster.host(f"{number}"))
        roster.plan(seat, 1.0)
        roster.remove(seat)
        roster.start(2.0)
    del seat

    assert len(roster._hosts) == 0
    assert not roster._turns
