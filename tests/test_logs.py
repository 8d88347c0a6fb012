"""Logs: one line each, in JSON or for people, and nothing in them that a client or a library must not put there."""

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from io import StringIO

import pytest
from aiohttp import web
from pydantic import SecretStr

from aurora_bridge.logs import configure, fields
from aurora_bridge.logs.libraries import LibraryErrors

LIBRARIES = ("aiokafka", "aiohttp.access", "aiohttp.server", "asyncio")
log = logging.getLogger("aurora_bridge.test")


class Terminal(StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored_logging(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers)
    level = root.level
    for name in LIBRARIES:
        monkeypatch.setattr(logging.getLogger(name), "filters", [])
    yield
    root.setLevel(level)
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)


def lines(stream: StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def line(stream: StringIO) -> dict[str, object]:
    (only,) = lines(stream)
    return only


# Formats


def test_a_json_line_has_time_level_logger_message_and_fields() -> None:
    stream = StringIO()
    configure(stream=stream)
    log.warning("spool is %s", "full", extra=fields(reason="spool_full", bytes=12))
    content = line(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", str(content.pop("time")))
    assert content == {
        "level": "WARNING",
        "logger": "aurora_bridge.test",
        "message": "spool is full",
        "reason": "spool_full",
        "bytes": 12,
    }


def test_a_field_cannot_take_the_place_of_the_line_s_own_members() -> None:
    stream = StringIO()
    configure(stream=stream)
    log.info("true", extra=fields(message="false", level="false"))
    assert (line(stream)["message"], line(stream)["level"]) == ("true", "INFO")


@pytest.mark.parametrize("value", ["\ud800", 2**70, {1: 2}, b"\xff", object(), {"a": {"b"}}, float("nan")])
def test_no_field_is_too_odd_for_a_line(value: object) -> None:
    stream = StringIO()
    configure(stream=stream)
    log.info("odd", extra=fields(value=value))
    assert "value" in line(stream)


def test_a_secret_string_among_the_fields_is_asterisks() -> None:
    stream = StringIO()
    configure(stream=stream)
    log.info("secret", extra=fields(value=SecretStr("canary")))
    assert line(stream)["value"] == "**********"


def test_an_exception_is_one_compact_text_with_its_cause_and_places() -> None:
    def fail() -> None:
        try:
            raise KeyError("inner")  # noqa: EM101, TRY301 - made to be logged
        except KeyError as error:
            raise RuntimeError("outer\nsecond line") from error  # noqa: EM101, TRY003 - as above

    stream = StringIO()
    configure(stream=stream)
    try:
        fail()
    except RuntimeError:
        log.exception("failed")
    place = r"test_logs\.py:\d+ fail"
    expected = rf"RuntimeError: outer\nsecond line at {place} < test_logs\.py:\d+ \w+ from KeyError: 'inner' at {place}"
    assert re.fullmatch(expected, str(line(stream)["error"]))


def test_what_an_exception_hides_with_from_none_stays_hidden() -> None:
    stream = StringIO()
    configure(stream=stream)
    try:
        try:
            raise ValueError("canary")  # noqa: EM101, TRY301 - made to be logged
        except ValueError:
            raise RuntimeError from None
    except RuntimeError:
        log.exception("failed")
    assert "canary" not in stream.getvalue()


def test_the_exceptions_of_a_group_are_all_told() -> None:
    stream = StringIO()
    configure(stream=stream)
    log.error("failed", exc_info=ExceptionGroup("two", [OSError("first"), ValueError("second")]))
    error = str(line(stream)["error"])
    assert "OSError: first" in error
    assert "ValueError: second" in error


def test_a_long_exception_is_cut() -> None:
    stream = StringIO()
    configure(stream=stream)
    log.error("failed", exc_info=ValueError("x" * 10_000))
    assert len(str(line(stream)["error"])) == 2000


def test_text_is_one_line_for_people() -> None:
    stream = StringIO()
    configure(format="text", stream=stream)
    log.info("listening", extra=fields(port=8080, host="::1"))
    expected = r'\S+Z INFO    aurora_bridge\.test: listening port=8080 host="::1"\n'
    assert re.fullmatch(expected, stream.getvalue())


@pytest.mark.proves("An attacker cannot: forge a line of the log")
@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_logged_can_forge_a_line_or_move_the_cursor(form: str) -> None:
    stream = StringIO()
    configure(format="json" if form == "json" else "text", stream=stream)
    log.info("a\nb\x1b[2J\u2028", extra=fields(value="c\nd\x1b[2J"))
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_auto_is_text_on_a_terminal_and_json_elsewhere() -> None:
    terminal, pipe = Terminal(), StringIO()
    configure(stream=terminal)
    log.info("hello")
    configure(stream=pipe)
    log.info("hello")
    assert terminal.getvalue().endswith("hello\n")
    assert line(pipe)["message"] == "hello"


def test_lines_below_the_level_are_left_out() -> None:
    stream = StringIO()
    configure("warning", stream=stream)
    log.info("no")
    log.warning("yes")
    assert [content["message"] for content in lines(stream)] == ["yes"]


def test_a_line_that_cannot_be_written_is_dropped_without_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    stream = StringIO()
    configure(stream=stream)
    stream.close()
    log.info("secret %s", "canary")
    assert capsys.readouterr().err == ""


# Libraries


@pytest.mark.proves("No secret comes out: not in what libraries log")
@pytest.mark.parametrize(("level", "expected"), [("debug", logging.INFO), ("error", logging.ERROR)])
def test_aiokafka_never_logs_below_info_since_its_debug_lines_have_passwords(level: str, expected: int) -> None:
    configure("debug" if level == "debug" else "error", stream=StringIO())
    assert logging.getLogger("aiokafka.conn").getEffectiveLevel() == expected


@pytest.mark.proves("No secret comes out: not in what libraries log")
def test_the_libraries_of_aws_log_no_more_than_warnings_since_their_debug_lines_have_session_tokens() -> None:
    configure("debug", stream=StringIO())
    levels = {name: logging.getLogger(name).getEffectiveLevel() for name in ("botocore.auth", "boto3", "urllib3.util")}
    assert set(levels.values()) == {logging.WARNING}


async def send(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    await writer.drain()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def serve_and_send(data: bytes) -> bytes:
    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        raise ValueError(request.path)

    runner = web.ServerRunner(web.Server(handler))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        return await send(runner.addresses[0][1], data)
    finally:
        await runner.cleanup()


@pytest.mark.proves("No secret comes out: not in what libraries log")
@pytest.mark.parametrize(
    "malformed",
    [
        b"GET /x?token=canary HTTP/1.1\r\nBad Header: canary\r\n\r\n",
        b"GET /x?token=canary\x01 HTTP/9.9\r\n\r\n",
        b"GET /x?token=" + b"canary" * 2000 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01canary\r\n\r\n",
        b"GET http://[canary/ HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_logged_without_any_of_its_bytes(malformed: bytes) -> None:
    stream = StringIO()
    configure("debug", stream=stream)
    answer = await serve_and_send(malformed)
    assert answer.split()[1] == b"400"
    assert "malformed request" in [content["message"] for content in lines(stream)]
    assert "canary" not in stream.getvalue()


@pytest.mark.proves("No secret comes out: not in a traceback")
async def test_a_fault_in_a_handler_is_logged_with_type_and_place_but_without_its_text() -> None:
    stream = StringIO()
    configure(stream=stream)
    answer = await serve_and_send(b"GET /canary HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.split()[1] == b"500"
    content = line(stream)
    assert (content["message"], content["type"]) == ("fault in the HTTP server", "ValueError")
    assert re.match(r"test_logs\.py:\d+ handler < ", str(content["at"]))
    assert "canary" not in stream.getvalue()


async def test_a_fault_in_a_callback_is_logged_without_its_arguments() -> None:
    stream = StringIO()
    configure(stream=stream)
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    loop.call_soon(int, "canary")
    loop.call_soon(done.set)
    await done.wait()
    assert (line(stream)["message"], line(stream)["type"]) == ("fault in the event loop", "ValueError")
    assert "canary" not in stream.getvalue()


def test_a_flood_of_a_library_s_errors_is_cut_to_so_many_lines_a_minute_and_counted() -> None:
    now = 0.0
    errors = LibraryErrors("fault", lines=2, monotonic=lambda: now)

    def emit() -> object:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "text", (), (ValueError, ValueError(), None))
        return vars(record)["fields"].get("left_out", 0) if errors.filter(record) else None

    assert [emit() for _ in range(5)] == [0, 0, None, None, None]
    now = 59.9
    assert emit() is None
    now = 60
    assert [emit() for _ in range(3)] == [4, 0, None]


def test_malformed_requests_do_not_use_up_the_lines_of_faults() -> None:
    malformed = type("BadMessage", (Exception,), {"__module__": "aiohttp.http_exceptions"})()
    errors = LibraryErrors("fault", lines=1, monotonic=lambda: 0)

    def passes(error: Exception) -> bool:
        return errors.filter(logging.LogRecord("x", logging.ERROR, "", 0, "text", (), (type(error), error, None)))

    assert [passes(malformed), passes(malformed), passes(ValueError()), passes(ValueError())] == [
        True,
        False,
        True,
        False,
    ]
