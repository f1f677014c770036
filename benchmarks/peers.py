"""The alternatives: the vendor's SDK, and the libraries that one would otherwise use."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, Literal

import aiohttp
import httpx
import msgspec
import orjson
import pydantic
from pydantic.alias_generators import to_camel
from whatsapp_api_client_python.API import GreenApi  # type: ignore[import-untyped]  # It brings no types.

from benchmarks import _ours
from benchmarks.measuring import Call

OURS = "greenapi_async"
OURS_OVER_HTTPX_POOL = "greenapi_async over httpx's own pool"
STRICT = "pydantic, strict, unknown kept"
HTTPX = "httpx + json"
HTTPX_ORJSON = "httpx + orjson"
AIOHTTP = "aiohttp + pydantic"
VENDOR = "vendor's SDK, async"
VENDOR_THREADS = "vendor's SDK, in a thread"


class _Struct(msgspec.Struct, rename="camel", tag_field="typeMessage", kw_only=True):
    id_message: str
    timestamp: int
    chat_id: str
    sender_id: str | None = None
    sender_name: str | None = None
    sender_contact_name: str | None = None


class _LookStruct(msgspec.Struct, rename="camel", kw_only=True):
    text: str | None = None
    background_color: str | None = None
    font: str | None = None


class _TextStruct(_Struct, tag="extendedTextMessage"):
    text_message: str | None = None
    extended_text_message: _LookStruct | None = None


class _MediaStruct(_Struct):
    download_url: str | None = None
    file_name: str | None = None
    mime_type: str | None = None
    caption: str | None = None
    jpeg_thumbnail: str | None = None


class _ImageStruct(_MediaStruct, tag="imageMessage"):
    pass


class _VideoStruct(_MediaStruct, tag="videoMessage"):
    pass


class _AudioStruct(_MediaStruct, tag="audioMessage"):
    pass


class _Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=to_camel)

    id_message: str
    timestamp: int
    chat_id: str
    sender_id: str | None = None
    sender_name: str | None = None
    sender_contact_name: str | None = None


class _LookModel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(alias_generator=to_camel)

    text: str | None = None
    background_color: str | None = None
    font: str | None = None


class _TextModel(_Model):
    type_message: Literal["extendedTextMessage"]
    text_message: str | None = None
    extended_text_message: _LookModel | None = None


class _MediaModel(_Model):
    type_message: Literal["imageMessage", "videoMessage", "audioMessage"]
    download_url: str | None = None
    file_name: str | None = None
    mime_type: str | None = None
    caption: str | None = None
    jpeg_thumbnail: str | None = None


class _StrictLook(_LookModel):
    model_config = pydantic.ConfigDict(strict=True, extra="allow")


class _StrictText(_TextModel):
    model_config = pydantic.ConfigDict(strict=True, extra="allow")

    extended_text_message: _StrictLook | None = None


class _StrictMedia(_MediaModel):
    model_config = pydantic.ConfigDict(strict=True, extra="allow")


_AnyModel = Annotated[_TextModel | _MediaModel, pydantic.Discriminator("type_message")]
_Strict = Annotated[_StrictText | _StrictMedia, pydantic.Discriminator("type_message")]
_StrictOrAny = Annotated[_Strict | dict[str, Any], pydantic.Field(union_mode="left_to_right")]
_structs = msgspec.json.Decoder(list[_TextStruct | _ImageStruct | _VideoStruct | _AudioStruct])
_models: pydantic.TypeAdapter[list[_AnyModel]] = pydantic.TypeAdapter(list[_AnyModel])

_strict_models: pydantic.TypeAdapter[list[_StrictOrAny]] = pydantic.TypeAdapter(list[_StrictOrAny])


def _awaitable(decode: Callable[[bytes], Any]) -> Callable[[bytes], Coroutine[Any, Any, Any]]:
    async def decode_at_once(body: bytes) -> Any:
        return decode(body)

    return decode_at_once


DECODERS = {
    OURS: _ours.decode,
    "orjson.loads": _awaitable(orjson.loads),
    "json.loads": _awaitable(json.loads),
    "msgspec Structs": _awaitable(_structs.decode),
    "pydantic": _awaitable(_models.validate_json),
    STRICT: _awaitable(_strict_models.validate_json),
}


@asynccontextmanager
async def fetchers(api_url: str, statuses: int) -> AsyncIterator[dict[str, Call]]:
    """Yield, by name, functions that send the server one request for a response with that many statuses.

    Whatever can keep its connections keeps them. The vendor's SDK does not, async or in a thread.
    """
    url = f"{api_url}/waInstance{statuses}/getIncomingStatuses/{_ours.TOKEN}"
    vendor = GreenApi(str(statuses), _ours.TOKEN, host=api_url, raise_errors=True)

    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(_ours.client(api_url, statuses=statuses))
        stock = await stack.enter_async_context(httpx.AsyncClient())
        bare = await stack.enter_async_context(httpx.AsyncClient())
        session = await stack.enter_async_context(aiohttp.ClientSession())
        over_stock = _ours.client(api_url, statuses=statuses, http_client=stock)

        async def httpx_json() -> Any:
            return json.loads((await bare.get(url)).content)

        async def httpx_orjson() -> Any:
            return orjson.loads((await bare.get(url)).content)

        async def aiohttp_pydantic() -> Any:
            async with session.get(url) as response:
                return _models.validate_json(await response.read())

        async def vendor_threads() -> Any:
            return await asyncio.to_thread(vendor.statuses.getIncomingStatuses)

        yield {
            OURS: ours.fetch,
            OURS_OVER_HTTPX_POOL: over_stock.fetch,
            HTTPX: httpx_json,
            HTTPX_ORJSON: httpx_orjson,
            AIOHTTP: aiohttp_pydantic,
            VENDOR: vendor.statuses.getIncomingStatusesAsync,
            VENDOR_THREADS: vendor_threads,
        }
