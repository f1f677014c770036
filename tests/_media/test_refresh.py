"""Statuses as the API has them now, requested once for all who wait."""

from virtual_time import run_in_virtual_time

from greenapi_async import ServerError, TextStatus
from greenapi_async._media.refresh import Refresher

STATUS = TextStatus(id_message="a", timestamp=1_800_000_000, chat_id="1@c.us")


def test_who_comes_after_a_failure_requests_again_though_no_time_has_passed():
    """uvloop's clock counts milliseconds: the next call came at the time of the failure, and shared it."""
    responses = [ServerError("bad gateway", http_code=502), [STATUS]]

    async def statuses(_minutes):
        response = responses.pop(0)
        if isinstance(response, Exception):
            raise response
        return response

    async def main():
        refresher = Refresher(statuses, lambda: STATUS.timestamp + 1.0)
        return [await refresher.refreshed(STATUS) for _ in range(2)]

    assert run_in_virtual_time(main) == [None, STATUS]
