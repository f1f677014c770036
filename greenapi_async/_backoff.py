"""How long to wait after a failure, and when to give up. Pure."""

from greenapi_async.errors import (
    ClientClosedError,
    ConfigurationError,
    DecodeError,
    GreenApiError,
    InstanceNotReadyError,
    RateLimitedError,
    StoreError,
)

_SHORTEST = 0.25
_LONGEST = 60.0
_LONGEST_UNREADABLE = 300.0  # A broken answer does not heal in seconds, and may be megabytes.
_FOR_A_PERSON = 300.0  # Somebody has to find the phone and scan the QR code.
_SHORTEST_RATE_LIMITED = 2.0
_LONGEST_RATE_LIMITED = 3600.0
_MOST_REFUSALS = 3


def delay(error: GreenApiError, failures: int, jitter: float) -> float:
    """Return the seconds to wait after the n-th failure in a row; `jitter` is random in [0, 1)."""
    if _waits_for_a_person(error):
        return _FOR_A_PERSON

    if isinstance(error, RateLimitedError):
        return min(_LONGEST_RATE_LIMITED, max(_SHORTEST_RATE_LIMITED, error.retry_after or 0.0))

    longest = _LONGEST_UNREADABLE if isinstance(error, DecodeError) else _LONGEST
    return max(_SHORTEST, jitter * min(longest, 2.0 ** min(failures, 16)))


def is_final(error: GreenApiError, *, refusals: int, succeeded: bool) -> bool:
    """Tell whether a poller gives up.

    Args:
        error: the failure.
        refusals: how many failures in a row, this one included, time could not heal.
        succeeded: whether the poller has had an answer before.
    """
    if isinstance(error, ClientClosedError | ConfigurationError | StoreError):
        return True

    if error.retryable or _waits_for_a_person(error):
        return False

    return not succeeded or refusals >= _MOST_REFUSALS


def _waits_for_a_person(error: GreenApiError) -> bool:
    return isinstance(error, InstanceNotReadyError) and not error.retryable
