"""`check`: every situation that a newcomer meets, over real sockets, and what is then said to be done."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from string import Formatter

import pytest
from anyio.from_thread import start_blocking_portal
from command import COMMAND, environment
from fake_api import TOKEN
from loopback import tls_in_front_of
from proxies import Proxy

from greenapi_async import cli
from greenapi_async._http.probe import Certificate
from greenapi_async.cli import check, check_texts
from greenapi_async.simulator import Answer, Delay, Refuse, Reset, Simulator

TLS = Path(__file__).parents[1] / "tls"
RUSSIAN = {"LC_ALL": "ru_RU.UTF-8"}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    """Nothing is set that the command looks at."""
    for name in os.environ:
        if name.startswith(("GREEN_API_", "LC_")) or name.lower().endswith("_proxy") or name == "LANG":
            monkeypatch.delenv(name)


@pytest.fixture
def checked(monkeypatch, capsys):
    """Run the command in this process; return its exit code and what it prints."""

    def checked(variables, **others):
        for name, value in {**variables, **others}.items():
            monkeypatch.setenv(name, value)

        code = cli.main(["check"])
        out, err = capsys.readouterr()
        assert err == ""
        return code, out

    return checked


@pytest.fixture
def api():
    with Simulator(max_rate=None) as api:
        yield api


def line(out, topic):
    """Return what is said of a topic, without the columns."""
    [found] = [each for each in out.splitlines() if each[9:].startswith(f"{topic} ")]
    return found


def test_all_is_well(api, checked):
    api.post("image")
    api.post(late=600)
    api.post()

    code, out = checked(api.env)

    assert code == 0
    assert line(out, "settings") == f"ok       settings    instance {api.id_instance} at {api.url}"
    assert line(out, "connection").startswith("ok       connection  127.0.0.1 accepts connections on port ")
    assert line(out, "clock").startswith(
        "ok       clock       this machine's clock and the API's agree within "
    )
    assert line(out, "statuses").startswith(
        "ok       statuses    3 in the last day (text 2, image 1), the newest "
    )
    assert len(api.requests) == 1
    assert api.token not in out


def test_all_is_well_in_russian(api, checked):
    api.post()

    code, out = checked(api.env, **RUSSIAN)

    assert code == 0
    assert f"настройки   инстанс {api.id_instance}, адрес {api.url}" in out
    assert "статусы     за сутки 1 (text 1), последний" in out
    assert "из-за него другая программа, опрашивающая инстанс, может раз получить 429" in out


def test_it_says_that_a_poller_may_notice(api, checked):
    _, out = checked(api.env)

    assert "a poller running on this instance may get one 429" in out


def test_nothing_came(api, checked):
    code, out = checked(api.env)

    assert code == 0
    assert line(out, "statuses") == (
        "note     statuses    none in the last day: only statuses of the account's contacts arrive; ask one of them to post"
    )


@pytest.mark.parametrize(
    ("variables", "missing"),
    [
        ({}, ["GREEN_API_ID_INSTANCE", "GREEN_API_TOKEN_INSTANCE"]),
        ({"GREEN_API_ID_INSTANCE": "1"}, ["GREEN_API_TOKEN_INSTANCE"]),
        ({"GREEN_API_ID_INSTANCE": " ", "GREEN_API_TOKEN_INSTANCE": "x"}, ["GREEN_API_ID_INSTANCE"]),
        ({"GREEN_API_TOKEN_INSTANCE_FILE": "x"}, ["GREEN_API_ID_INSTANCE"]),
    ],
)
def test_what_is_not_set_is_told(variables, missing, checked):
    code, out = checked(variables)

    assert code == 2
    assert f"not set: {', '.join(missing)}. Export them as your console shows them" in out
    assert all(f"  export {name}=" in out for name in [*missing, "GREEN_API_URL"])


def test_nothing_is_set_in_russian(checked):
    code, out = checked(RUSSIAN)

    assert code == 2
    assert "не заданы: GREEN_API_ID_INSTANCE, GREEN_API_TOKEN_INSTANCE" in out


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("GREEN_API_ID_INSTANCE", "id"),
        ("GREEN_API_TOKEN_INSTANCE", "a b"),
        ("GREEN_API_URL", "http://1101.api.green-api.com"),
        ("GREEN_API_URL", "1101.api.green-api.com"),
    ],
)
def test_a_wrong_setting_is_named(variable, value, api, checked):
    code, out = checked(api.env | {variable: value})

    assert code == 2
    assert line(out, "settings").startswith("FAILED ")
    assert variable in line(out, "settings")
    assert api.requests == []


def test_a_proxy_that_cannot_be_read_is_named(checked):
    code, out = checked(
        {"GREEN_API_ID_INSTANCE": "1", "GREEN_API_TOKEN_INSTANCE": "x", "HTTPS_PROXY": "ftp://proxy"}
    )

    assert code == 2
    assert "HTTPS_PROXY" in line(out, "settings")


def test_a_host_that_does_not_exist(api, checked):
    """`.invalid` never does, whatever DNS there is."""
    code, out = checked(api.env | {"GREEN_API_URL": "https://1101.api.green-api.invalid"})

    assert code == 1
    assert "1101.api.green-api.invalid was not found (" in line(out, "DNS")
    assert "check the spelling in GREEN_API_URL, and the network" in out
    assert "TLS" not in out


def test_a_host_that_cannot_be(api, checked):
    code, out = checked(api.env | {"GREEN_API_URL": f"https://{'a' * 70}.example"})

    assert code == 1
    assert "was not found (" in line(out, "DNS")


def test_nobody_listens(api, checked):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    code, out = checked(api.env | {"GREEN_API_URL": f"http://localhost:{port}"})

    assert code == 1
    assert f"nothing listens at localhost, port {port}: check GREEN_API_URL" in line(out, "connection")


def test_a_wrong_token(api, checked):
    code, out = checked(api.env | {"GREEN_API_TOKEN_INSTANCE": TOKEN})

    assert code == 1
    assert "HTTP 401, the API does not know this token" in line(out, "API         HTTP")
    assert TOKEN not in out


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Refuse(404), "HTTP 404, there is no such method at http://127.0.0.1:"),
        (Refuse(429), "HTTP 429, more than one request a second: another program polls this instance"),
        (Refuse(466), "HTTP 466, the plan's quota is used up"),
        (Refuse(400), "no WhatsApp account is linked: scan the QR code in the console"),
        (Answer({"reason": "instance is starting or not authorized"}), "the instance is starting"),
        (Refuse(502), "try again in a few minutes"),
        (Refuse(405, "no"), "HTTP 405: no"),
        (
            Answer("<html>Log in</html>", {"Content-Type": "text/html"}),
            "log in to this network (a captive portal)",
        ),
        (Refuse(401, "<html>", "text/html"), "log in to this network (a captive portal)"),
        (Answer("", {"Location": "https://wifi.example/"}, 302), "log in to this network (a captive portal)"),
        (Answer({}), "expected a JSON array of statuses, got dict: try again in a few minutes"),
        (Reset(), "try again in a few minutes"),
    ],
)
def test_what_comes_in_place_of_statuses(fault, says, api, checked):
    """And each with one request: none is sent again."""
    api.faults.append(fault)

    code, out = checked(api.env)

    assert code == 1
    assert says in out
    assert len(api.requests) <= 2  # An idle connection that was reset is not told from one that was closed.


def test_a_refusal_in_russian(api, checked):
    api.faults.append(Refuse(429))

    code, out = checked(api.env, **RUSSIAN)

    assert code == 1
    assert "ОШИБКА   API         HTTP 429, больше одного запроса в секунду" in out


def test_access_denied_has_two_causes_where_the_host_is_everybodys(api, checked):
    api.faults.append(Refuse(403))

    code, out = checked(api.env)

    assert code == 1
    assert [each.split(":")[0].strip() for each in out.splitlines() if each.startswith("  ")] == [
        "- the statuses beta is not enabled for this instance",
        "- the account is suspended",
    ]


@contextmanager
def running(*managers):
    """Run asynchronous servers in a thread, and yield what they are entered as."""
    with start_blocking_portal() as portal:
        entered = []
        try:
            for manager in managers:
                wrapped = portal.wrap_async_context_manager(manager)
                entered.append(wrapped)
                yield wrapped.__enter__()
        finally:
            for wrapped in reversed(entered):
                wrapped.__exit__(None, None, None)


def run_apart(variables, **others):
    """Run the command in a process of its own: one has one TLS context."""
    run = subprocess.run(
        [*COMMAND, "check"],
        env=environment(**variables, PYTHONIOENCODING="utf-8", **others),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert run.stderr == ""
    return run.returncode, run.stdout


@contextmanager
def behind_tls(api, certificate):
    with running(tls_in_front_of(api, certificate)) as url:
        yield api.env | {"GREEN_API_URL": url}


def test_a_good_certificate_says_for_how_long(api):
    api.post()

    with behind_tls(api, "localhost") as variables:
        code, out = run_apart(variables, SSL_CERT_FILE=str(TLS / "localhost.pem"))

    assert code == 0, out
    days = int(
        line(out, "TLS")
        .removeprefix("ok       TLS         the certificate of localhost is valid for ")
        .split()[0]
    )
    assert 300 < days < 37_000


@pytest.mark.parametrize(
    ("certificate", "trusted", "says"),
    [
        ("expired", "expired", "the certificate of localhost has expired: if this machine's clock, 2"),
        ("early", "early", "the certificate of localhost is not valid yet: this machine's clock, 2"),
        ("other", "other", "the certificate is not for localhost (Hostname mismatch"),
        ("localhost", "other", "the certificate of localhost is not trusted (self"),
    ],
)
def test_a_wrong_certificate(certificate, trusted, says, api):
    with behind_tls(api, certificate) as variables:
        code, out = run_apart(variables, SSL_CERT_FILE=str(TLS / f"{trusted}.pem"))

    assert code == 1
    assert says in line(out, "TLS")
    assert api.requests == []


def test_an_expired_certificate_in_russian(api):
    with behind_tls(api, "expired") as variables:
        code, out = run_apart(variables, SSL_CERT_FILE=str(TLS / "expired.pem"), LANG="ru_RU.UTF-8")

    assert code == 1
    assert "срок сертификата localhost истёк" in out


def test_no_tls_at_all(api, checked):
    code, out = checked(api.env | {"GREEN_API_URL": api.url.replace("http", "https")})

    assert code == 1
    assert "does not speak TLS" in line(out, "TLS")


def test_a_file_of_certificates_that_is_missing(api):
    with behind_tls(api, "localhost") as variables:
        code, out = run_apart(variables, SSL_CERT_FILE="/nowhere")

    assert code == 2
    assert "SSL_CERT_FILE" in line(out, "settings")


@pytest.mark.parametrize("id_instance", ["7103000001", "1101000001"])
def test_access_denied_behind_a_proxy_at_a_host_of_some_instances(id_instance, api):
    """A proxy looks the name up and connects; whose host it is, the name tells."""
    api.id_instance = id_instance
    api.faults.append(Refuse(403))
    port = int(api.url.rpartition(":")[2])
    proxy = Proxy("http", port, certificate="1101")

    with running(proxy.running()):
        code, out = run_apart(
            api.env | {"GREEN_API_URL": "https://1101.api.green-api.com", "HTTPS_PROXY": proxy.url},
            SSL_CERT_FILE=str(TLS / "1101.pem"),
        )

    causes = [each.strip() for each in out.splitlines() if each.startswith("  ")]
    assert code == 1
    assert line(out, "proxy") == (
        "note     proxy       requests go through the proxy that HTTPS_PROXY names, so DNS and TLS are not checked here"
    )
    assert [each.split()[1] for each in out.splitlines() if each[0] != " "] == [
        *("settings", "proxy", "API", "API", "clock")
    ]
    assert proxy.targets == ["1101.api.green-api.com:443"]
    assert len(causes) == 3
    if id_instance.startswith("1101"):
        assert causes[1].startswith("- instance 1101000001 is not hosted at 1101.api.green-api.com: compare")
    else:
        assert causes[0].startswith(
            "- instance 7103000001 is not hosted at 1101.api.green-api.com: its address begins"
        )


def test_a_proxy_that_refuses_the_password_is_named(api):
    proxy = Proxy("http", 1, "wants a password")

    with running(proxy.running()):
        code, out = run_apart(
            api.env | {"GREEN_API_URL": "https://1101.api.green-api.com", "HTTPS_PROXY": proxy.url}
        )

    assert code == 1
    assert "HTTPS_PROXY" in out.splitlines()[-1]
    assert "secret" not in out


@pytest.mark.parametrize(
    ("off", "says"), [(-86_400, "1 d ahead of"), (86_400, "1 d behind"), (3_600, "1 h behind")]
)
def test_a_clock_that_is_off(off, says, api, checked):
    """It is a note: polling goes by the API's clock."""
    api.clock = lambda: time.time() + off

    code, out = checked(api.env)

    assert code == 0
    assert f"note     clock       this machine's clock is {says} the API's: set it" in out


def test_a_clock_that_is_off_in_russian(api, checked):
    api.clock = lambda: time.time() + 86_400

    _, out = checked(api.env, **RUSSIAN)

    assert "часы этой машины отстают от API на 1 д: переведите их" in out


def test_a_response_without_a_date_says_nothing_of_the_clock(api, checked):
    api.faults.append(Answer([], {"Date": None}))

    code, out = checked(api.env)

    assert code == 0
    assert "clock" not in out


def test_an_api_that_is_silent(api, monkeypatch, checked):
    monkeypatch.setattr(check, "_PATIENCE", 0.1)
    api.faults.append(Delay(60))

    code, out = checked(api.env)

    assert code == 1
    assert "no complete response within 0.3 s: try again in a few minutes" in out


def test_a_reader_that_goes_away(api):
    process = subprocess.Popen(
        [*COMMAND, "check"], env=environment(**api.env), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()

    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == b""
    process.stderr.close()


def test_the_help_does_not_load_it():
    """`greenapi-async --help` must not become slower."""
    script = "import sys; from greenapi_async.cli.arguments import parse; print('greenapi_async.cli.check' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", script], env=environment(), text=True) == "False\n"


# Decisions, without sockets


def target(host, id_instance="1101000001"):
    return check.Target(id_instance=id_instance, url=f"https://{host}", scheme="https", host=host, port=443)


@pytest.mark.parametrize(
    ("host", "id_instance", "keys"),
    [
        ("api.green-api.com", "1101000001", ["403 beta", "403 suspended"]),
        ("1101.api.green-api.com", "1101000001", ["403 beta", "403 here", "403 suspended"]),
        ("7103.api.greenapi.com", "1101000001", ["403 elsewhere", "403 beta", "403 suspended"]),
        ("proxy.example", "1101000001", ["403 beta", "403 suspended"]),
    ],
)
def test_causes_of_a_403(host, id_instance, keys):
    assert [each.key for each in check.denials(target(host, id_instance))] == keys


def test_an_error_of_a_connection_is_told_by_the_addresses():
    error = OSError("All connection attempts failed")
    error.__cause__ = ExceptionGroup("", [OSError(113, "No route to host"), OSError(113, "No route to host")])

    finding = check.unconnected(error, {"host": "h", "port": 443})

    assert list(check.lines(finding, "en")) == [
        "FAILED   connection  h, port 443, cannot be reached (No route to host): check the network and the firewall"
    ]


def test_the_last_day_of_a_certificate():
    finding = check.certified(Certificate(ends=100_000.0), target("h"), now=99_000.0)

    assert list(check.lines(finding, "en")) == [
        "ok       TLS         the certificate of h is valid for 0 more days"
    ]


def test_what_others_say_cannot_break_a_line():
    finding = check.Finding("failed", "settings", "wrong setting", {"problem": "a\nb\x1b[2J"})

    [shown] = check.lines(finding, "en")

    assert "\n" not in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(
    ("variables", "language"),
    [
        ({}, "en"),
        ({"LANG": "ru_RU.UTF-8"}, "ru"),
        ({"LANG": "ru"}, "ru"),
        ({"LANG": "RU_ru"}, "ru"),
        ({"LANG": "run"}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LC_MESSAGES": "ru_RU.UTF-8", "LANG": "en_US.UTF-8"}, "ru"),
        ({"LC_ALL": "en_US.UTF-8", "LC_MESSAGES": "ru_RU.UTF-8", "LANG": "ru_RU.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "", "LANG": "ru_RU.UTF-8"}, "ru"),
        ({"LC_CTYPE": "ru_RU.UTF-8"}, "en"),
    ],
)
def test_the_language_follows_the_environment(variables, language):
    assert check_texts.language(variables, "utf-8") == language


@pytest.mark.parametrize(
    ("encoding", "language"), [("koi8-r", "ru"), ("ascii", "en"), ("latin-1", "en"), ("?", "en")]
)
def test_what_cannot_be_written_is_english(encoding, language):
    assert check_texts.language({"LANG": "ru_RU"}, encoding) == language


@pytest.mark.parametrize("key", check_texts.TEXTS)
def test_both_languages_say_the_same(key):
    """The same values, in words of their own."""
    english, russian = check_texts.TEXTS[key]

    fields = [{name for _, name, _, _ in Formatter().parse(each)} for each in (english, russian)]

    assert fields[0] == fields[1]
    assert english.isascii()


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (59.6, "1 min"),
        (3_500, "58 min"),
        (3_599, "1 h"),
        (86_399.7, "1 d"),
        (200_000, "2 d"),
    ],
)
def test_times_are_told_in_their_largest_unit(seconds, shown):
    assert check_texts.span(seconds, "en") == shown
