"""Mutants of the algorithm that the random and the small histories both have to find."""

from greenapi_async.poller import StatusPoller


def mark_before_recording(monkeypatch):
    poll = StatusPoller._poll

    async def poll_and_record(poller, **settings):
        batch = await poll(poller, **settings)
        if batch.checkpoint is not None:
            await poller._feed.record((), batch.checkpoint)
        return batch

    monkeypatch.setattr(StatusPoller, "_poll", poll_and_record)
