"""Which instances are polled next: their turns, the shares of their hosts, and the slots of all. Pure: no await, no clock.

An instance whose turn has come takes a share of its host and a slot at once, or waits and holds neither. The share is
given back with the response, the slot when what came is handled: slots bound what is in memory, shares what one host can
hold up. Of those who wait, the one whose turn came first is next; one whose host has no room holds up nobody else.

A host may have 25 requests under way, and no more than there are slots free: whatever hangs, something is left for the
others. One whose last request timed out may have a single one until it responds.
"""

import math
from collections import deque
from heapq import heappop, heappush
from itertools import count
from typing import Any, Generic, Literal, TypeVar
from weakref import WeakValueDictionary

import attrs

# As many as HTTP lets be under way: a turn is not to be spent on waiting there.
from greenapi_async._http.limiter import MOST as MOST_REQUESTS
from greenapi_async._http.limiter import MOST_OF_AN_ORIGIN as MOST_OF_A_HOST


@attrs.define(eq=False, repr=False)
class Host:
    """Scheme, host and port of some instances.

    Attributes:
        under_way: requests that have not been responded to.
        hangs: whether the last one timed out.
        waiting: seats whose turn has come, in the order of their turns.
    """

    under_way: int = 0
    hangs: bool = False
    waiting: "deque[Any]" = attrs.field(factory=deque)


@attrs.define(eq=False, repr=False)
class Seat:
    """An instance's place.

    Attributes:
        host: where it is polled.
        due: when its next turn comes; never, where it gave up.
        state: `"idle"` until then, `"waiting"` for a share and a slot, `"busy"` while it has a slot, or `"gone"`.
        is_wanted: whether it is to be polled again.
    """

    host: Host
    due: float = math.inf
    state: Literal["idle", "waiting", "busy", "gone"] = "idle"
    is_wanted: bool = True
    _share: Host | None = None


_Seat = TypeVar("_Seat", bound=Seat)


class Roster(Generic[_Seat]):
    """Keeps the seats, and says who begins when."""

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._requests = 0
        self._hosts: WeakValueDictionary[str, Host] = WeakValueDictionary()
        self._turns: list[tuple[float, int, _Seat]] = []
        self._waiting: dict[Host, None] = {}  # Those with someone who waits.
        self._counter = count()

    def host(self, name: str) -> Host:
        """Return the host of that name: there is one as long as somebody is polled there."""
        return self._hosts.setdefault(name, Host())

    def plan(self, seat: _Seat, at: float) -> None:
        """Let an idle seat have its next turn then, if it has none that comes before; wanted it is, in any state."""
        seat.is_wanted = True
        if seat.state == "idle" and at < seat.due:
            self._set(seat, at)

    def move(self, seat: _Seat, host: Host) -> None:
        """Poll a seat at another host from its next turn on."""
        if host is seat.host:
            return

        self._leave_queue(seat)
        seat.host = host
        if seat.state == "waiting":
            self._queue(seat)

    def remove(self, seat: _Seat) -> bool:
        """Give a seat no further turn; return whether it is gone already, having no slot."""
        seat.is_wanted = False
        if seat.state == "busy":
            return False

        self._leave_queue(seat)
        seat.state = "gone"
        return True

    def start(self, now: float) -> list[_Seat]:
        """Return those who begin now; each has a share and a slot."""
        while self._next_turn() <= now:
            self._queue(heappop(self._turns)[2])

        started = []
        while (host := self._next_host()) is not None:
            started.append(self._take(host))

        return started

    def next_at(self, now: float) -> float:
        """Return when there is somebody to start: now, or when the next turn comes."""
        return now if self._next_host() is not None else self._next_turn()

    def responded(self, seat: _Seat, *, hangs: bool | None) -> None:
        """Take a share back, once; `hangs` tells whether the request timed out, or None where that is not known."""
        host, seat._share = seat._share, None  # noqa: SLF001 - seats are this module's.
        if host is None:
            return

        host.under_way -= 1
        self._requests -= 1
        host.hangs = host.hangs if hangs is None else hangs

    def settled(self, seat: _Seat, next_at: float) -> bool:
        """Take a slot back, and let the seat have its next turn then; return whether it stays."""
        self.responded(seat, hangs=None)
        self._free += 1
        if not seat.is_wanted:
            seat.state = "gone"
            return False

        seat.state = "idle"
        self._set(seat, next_at)
        return True

    def _set(self, seat: _Seat, at: float) -> None:
        seat.due = at
        if at < math.inf:
            heappush(self._turns, (at, next(self._counter), seat))

    def _next_turn(self) -> float:
        while self._turns:
            at, _, seat = self._turns[0]
            if seat.state == "idle" and seat.due == at:
                return at

            heappop(self._turns)  # It was planned anew, or removed.

        return math.inf

    def _queue(self, seat: _Seat) -> None:
        seat.state = "waiting"
        seat.host.waiting.append(seat)
        self._waiting[seat.host] = None

    def _leave_queue(self, seat: _Seat) -> None:
        if seat.state == "waiting":
            seat.host.waiting.remove(seat)
            self._forget_empty(seat.host)

    def _next_host(self) -> Host | None:
        free = min(self._free, MOST_REQUESTS - self._requests)
        ready = (host for host in self._waiting if _has_room(host, free))
        return min(ready, key=lambda host: host.waiting[0].due, default=None)

    def _take(self, host: Host) -> _Seat:
        seat: _Seat = host.waiting.popleft()
        self._forget_empty(host)
        seat.state, seat._share = "busy", host  # noqa: SLF001
        host.under_way += 1
        self._requests += 1
        self._free -= 1
        return seat

    def _forget_empty(self, host: Host) -> None:
        if not host.waiting:
            del self._waiting[host]


def _has_room(host: Host, free: int) -> bool:
    return host.under_way < min(free, 1 if host.hangs else MOST_OF_A_HOST)
