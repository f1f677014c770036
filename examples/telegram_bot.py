"""aiogram 3: forwards each status to a Telegram chat, and answers `/health`.

`TELEGRAM_TOKEN=… TELEGRAM_CHAT=… python telegram_bot.py`, with the variables that `AsyncStatusesClient.from_env` reads;
`TELEGRAM_API` is the address of a Bot API server of your own.
"""

import asyncio
import json
import os

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command
from aiogram.types import Message

from greenapi_async import AsyncStatusesClient, Status, StatusPoller, TextStatus, to_dict

dispatcher = Dispatcher()


@dispatcher.message(Command("health"))
async def health(message: Message, poller: StatusPoller) -> None:
    await message.answer(f"{poller.health.state}, {poller.health.delivered} statuses")


async def set_aside(status: Status, error: Exception) -> None:
    with open("set_aside.jsonl", "a") as file:
        print(json.dumps({"error": repr(error), "status": to_dict(status)}), file=file)


async def main() -> None:
    chat = os.environ["TELEGRAM_CHAT"]

    async def forward(status: Status) -> None:
        text = status.text_message if isinstance(status, TextStatus) else status.kind
        await bot.send_message(chat, f"{status.sender}: {text}")

    api = TelegramAPIServer.from_base(os.environ.get("TELEGRAM_API", "https://api.telegram.org"))
    bot = Bot(os.environ["TELEGRAM_TOKEN"], session=AiohttpSession(api=api))
    async with AsyncStatusesClient.from_env() as client, bot, asyncio.TaskGroup() as tasks:
        poller = client.poll(interval=60, store="seen.db")
        running = tasks.create_task(poller.run(forward, attempts=3, set_aside=set_aside))
        await dispatcher.start_polling(bot, poller=poller)
        running.cancel()


if __name__ == "__main__":
    asyncio.run(main())
