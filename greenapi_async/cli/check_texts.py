"""What `check` says, in English and in Russian."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, Literal, TypeAlias

Language: TypeAlias = Literal["en", "ru"]

_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
_RUSSIAN = re.compile(r"ru(?![a-z])", re.IGNORECASE)
_UNITS = ((86_400, "d", "д"), (3_600, "h", "ч"), (60, "min", "мин"), (1, "s", "с"))

TEXTS: Final[Mapping[str, tuple[str, str]]] = {
    "ok": ("ok", "ок"),
    "note": ("note", "заметка"),
    "failed": ("FAILED", "ОШИБКА"),
    "settings": ("settings", "настройки"),
    "proxy": ("proxy", "прокси"),
    "DNS": ("DNS", "DNS"),
    "connection": ("connection", "соединение"),
    "TLS": ("TLS", "TLS"),
    "API": ("API", "API"),
    "clock": ("clock", "часы"),
    "statuses": ("statuses", "статусы"),
    "set": ("instance {id} at {url}", "инстанс {id}, адрес {url}"),
    "not set": (
        "not set: {names}. Export them as your console shows them, for example:",
        "не заданы: {names}. Задайте их, как показывает личный кабинет, например:",
    ),
    "wrong setting": ("{problem}", "{problem}"),
    "proxied": (
        "requests go through the proxy that {variable} names, so DNS and TLS are not checked here",
        "запросы идут через прокси из {variable}, поэтому DNS и TLS здесь не проверяются",
    ),
    "resolved": ("{host} is {addresses}", "{host} — это {addresses}"),
    "unresolved": (
        "{host} was not found ({problem}): check the spelling in GREEN_API_URL, and the network",
        "{host} не найден ({problem}): проверьте GREEN_API_URL и подключение к сети",
    ),
    "connected": ("{host} accepts connections on port {port}", "{host} принимает соединения на порту {port}"),
    "refused": (
        "nothing listens at {host}, port {port}: check GREEN_API_URL; on this machine, start the simulator",
        "на {host}, порт {port}, никто не отвечает: проверьте GREEN_API_URL; если это ваша машина, запустите симулятор",
    ),
    "unreachable": (
        "{host}, port {port}, cannot be reached ({problem}): check the network and the firewall",
        "{host}, порт {port}, недоступен ({problem}): проверьте сеть и межсетевой экран",
    ),
    "silent": (
        "no response from {host} within {seconds} s: check the network and the firewall",
        "{host} не отвечает {seconds} с: проверьте сеть и межсетевой экран",
    ),
    "certified": (
        "the certificate of {host} is valid for {days} more days",
        "сертификат {host} действует ещё {days} дн.",
    ),
    "early": (
        "the certificate of {host} is not valid yet: this machine's clock, {now}, is probably behind: set it",
        "сертификат {host} ещё не действует: вероятно, часы этой машины ({now}) отстают, переведите их",
    ),
    "expired": (
        "the certificate of {host} has expired: if this machine's clock, {now}, is right, the server must renew it",
        "срок сертификата {host} истёк: если часы этой машины ({now}) верны, его должен обновить сервер",
    ),
    "name": (
        "the certificate is not for {host} ({problem}): check GREEN_API_URL, and any proxy in between",
        "сертификат выдан не для {host} ({problem}): проверьте GREEN_API_URL и промежуточные узлы",
    ),
    "untrusted": (
        "the certificate of {host} is not trusted ({problem}): if a proxy here inspects TLS, set SSL_CERT_FILE to its own",
        "нет доверия к сертификату {host} ({problem}): если TLS здесь вскрывает прокси, укажите его сертификат в SSL_CERT_FILE",
    ),
    "no tls": (
        "{host}, port {port}, does not speak TLS ({problem}): check GREEN_API_URL",
        "{host}, порт {port}, не отвечает по TLS ({problem}): проверьте GREEN_API_URL",
    ),
    "one request": (
        "sending one request; a poller running on this instance may get one 429 for it, and then retries",
        "сейчас будет один запрос; из-за него другая программа, опрашивающая инстанс, может раз получить 429",
    ),
    "responded": ("responded in {seconds:.1f} s", "ответ за {seconds:.1f} с"),
    "401": (
        "HTTP 401, the API does not know this token: copy it from the console to GREEN_API_TOKEN_INSTANCE",
        "HTTP 401, API не знает этот токен: скопируйте его из личного кабинета в GREEN_API_TOKEN_INSTANCE",
    ),
    "403": ("HTTP 403, access denied. Possible causes:", "HTTP 403, доступ запрещён. Возможные причины:"),
    "403 elsewhere": (
        "- instance {id} is not hosted at {host}: its address begins with {prefix}; copy it to GREEN_API_URL",
        "- инстанс {id} обслуживается не на {host}: его адрес начинается с {prefix}; скопируйте его в GREEN_API_URL",
    ),
    "403 here": (
        "- instance {id} is not hosted at {host}: compare GREEN_API_URL with the console",
        "- инстанс {id} обслуживается не на {host}: сверьте GREEN_API_URL с личным кабинетом",
    ),
    "403 beta": (
        "- the statuses beta is not enabled for this instance: ask GREEN-API's support to enable getIncomingStatuses",
        "- бета статусов для этого инстанса не открыта: попросите поддержку GREEN-API открыть getIncomingStatuses",
    ),
    "403 suspended": (
        "- the account is suspended: see the console",
        "- аккаунт заблокирован: посмотрите в личном кабинете",
    ),
    "404": (
        "HTTP 404, there is no such method at {url}: check GREEN_API_URL, including its path",
        "HTTP 404, по адресу {url} нет такого метода: проверьте GREEN_API_URL, в том числе путь",
    ),
    "429": (
        "HTTP 429, more than one request a second: another program polls this instance; try again in a few seconds",
        "HTTP 429, больше одного запроса в секунду: инстанс опрашивает другая программа; повторите через пару секунд",
    ),
    "portal": (
        "received a web page instead of statuses: log in to this network (a captive portal), or check GREEN_API_URL",
        "вместо статусов пришла веб-страница: войдите в сеть (портал авторизации) или проверьте GREEN_API_URL",
    ),
    "starting": (
        "the instance is starting: try again in a minute",
        "инстанс запускается: повторите через минуту",
    ),
    "not authorized": (
        "no WhatsApp account is linked: scan the QR code in the console",
        "аккаунт WhatsApp не привязан: отсканируйте QR-код в личном кабинете",
    ),
    "quota": (
        "HTTP 466, the plan's quota is used up: wait until next month, or change the plan",
        "HTTP 466, квота тарифа исчерпана: дождитесь следующего месяца или смените тариф",
    ),
    "later": ("{problem}: try again in a few minutes", "{problem}: повторите через несколько минут"),
    "other": ("{problem}", "{problem}"),
    "in step": (
        "this machine's clock and the API's agree within {skew}",
        "часы этой машины расходятся с часами API не больше чем на {skew}",
    ),
    "fast": (
        "this machine's clock is {skew} ahead of the API's: set it, for example with `timedatectl set-ntp true`",
        "часы этой машины спешат относительно API на {skew}: переведите их, например, `timedatectl set-ntp true`",
    ),
    "slow": (
        "this machine's clock is {skew} behind the API's: set it, for example with `timedatectl set-ntp true`",
        "часы этой машины отстают от API на {skew}: переведите их, например, `timedatectl set-ntp true`",
    ),
    "came": (
        "{count} in the last day ({kinds}), the newest {age} ago",
        "за сутки {count} ({kinds}), последний {age} назад",
    ),
    "none came": (
        "none in the last day: only statuses of the account's contacts arrive; ask one of them to post",
        "за сутки ни одного: приходят только статусы контактов аккаунта; попросите кого-нибудь из них опубликовать статус",
    ),
}


def language(environment: Mapping[str, str], encoding: str) -> Language:
    """Return the language of messages: the first variable that is set decides; English if stdout cannot encode it."""
    named = next(filter(None, map(environment.get, _VARIABLES)), "")
    return "ru" if _RUSSIAN.match(named) and _writes_russian(encoding) else "en"


def _writes_russian(encoding: str) -> bool:
    try:
        return bool("Я".encode(encoding))
    except (LookupError, UnicodeEncodeError):
        return False


def text(key: str, lang: Language, /, **values: object) -> str:
    """Return a text with its values; a `timedelta` is shown in its largest unit."""
    told = {
        name: span(value.total_seconds(), lang) if isinstance(value, timedelta) else value
        for name, value in values.items()
    }
    return TEXTS[key][lang == "ru"].format(**told)


def span(seconds: float, lang: Language) -> str:
    """Return an approximate duration in its largest unit, for example `3 h`."""
    size, english, russian = next((each for each in _UNITS if seconds >= 0.99 * each[0]), _UNITS[-1])
    return f"{round(seconds / size)} {russian if lang == 'ru' else english}"
