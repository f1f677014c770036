"""The faults to come, one for each request: a deque that refuses what is not a fault."""

from collections import deque
from collections.abc import Iterable
from typing import Any, Self, SupportsIndex

from greenapi_async.simulator.faults import Fault


class FaultQueue(deque[Fault | None]):
    """A deque of faults; a wrong object is rejected when it is added, not when it would be applied.

    It can be changed from any thread.
    """

    def __init__(self, faults: Iterable[Fault | None] = ()) -> None:
        super().__init__(map(_checked, faults))

    def append(self, fault: Fault | None, /) -> None:
        """Add to the right: it is applied last."""
        super().append(_checked(fault))

    def appendleft(self, fault: Fault | None, /) -> None:
        """Add to the left: it is applied next."""
        super().appendleft(_checked(fault))

    def extend(self, faults: Iterable[Fault | None], /) -> None:
        """Add several to the right."""
        super().extend([_checked(fault) for fault in faults])

    def extendleft(self, faults: Iterable[Fault | None], /) -> None:
        """Add several to the left, which reverses them."""
        super().extendleft([_checked(fault) for fault in faults])

    def insert(self, index: int, fault: Fault | None, /) -> None:
        """Add one before an index."""
        super().insert(index, _checked(fault))

    def __setitem__(self, index: SupportsIndex, fault: Fault | None, /) -> None:  # type: ignore[override]
        super().__setitem__(index, _checked(fault))

    def __iadd__(self, faults: Iterable[Fault | None], /) -> Self:
        self.extend(faults)
        return self

    def take(self) -> Fault:
        """Remove the next fault and return it; without one, the fault that changes nothing."""
        try:
            return self.popleft() or Fault()
        except IndexError:
            return Fault()


def _checked(fault: Any) -> Fault | None:
    if fault is None or isinstance(fault, Fault):
        return fault

    if isinstance(fault, type) and issubclass(fault, Fault):
        hint = f"the class {fault.__name__} itself: call it"
    elif isinstance(fault, list | tuple):
        hint = f"a {type(fault).__name__}: extend adds several"
    else:
        hint = repr(fault)

    raise TypeError(f"faults are objects such as Refuse(502), or None for a regular response, not {hint}")
