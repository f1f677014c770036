"""A GREEN-API on loopback: post statuses to it, make it fail on demand, point a client at it."""

from greenapi_async.simulator._chaos import chaos
from greenapi_async.simulator._demo import demo
from greenapi_async.simulator._downloads import Media
from greenapi_async.simulator._messages import Received, Request, Response
from greenapi_async.simulator._simulator import Simulator
from greenapi_async.simulator.faults import (
    Answer,
    Bomb,
    Delay,
    Drip,
    Endless,
    Exchange,
    Fault,
    IgnoreMinutes,
    Refuse,
    Reset,
    Spoil,
    Truncate,
    Wire,
)

__all__ = [
    "Answer",
    "Bomb",
    "Delay",
    "Drip",
    "Endless",
    "Exchange",
    "Fault",
    "IgnoreMinutes",
    "Media",
    "Received",
    "Refuse",
    "Request",
    "Reset",
    "Response",
    "Simulator",
    "Spoil",
    "Truncate",
    "Wire",
    "chaos",
    "demo",
]
