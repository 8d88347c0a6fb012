"""The client of Aurora's API: what it sends, what it makes of each response, and what it never prints."""

import socket
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from aurora_bridge.aurora.client import REQUESTS_A_MINUTE, connected
from aurora_bridge.aurora.errors import API_REMEDIES, ApiReason, AuroraError
from aurora_bridge.aurora.subscription import Subscription
from aurora_bridge.simulator.in_thread import Simulator
from tests.aurora.api import TOKEN, Api, Reply, nowhere, scripted, settings_for

pytest_plugins = ["aurora_bridge.simulator.pytest_plugin"]

EMPTY = Reply(body={"webhooks": []})
ONE = {"id": "w-1", "event": "lead_created"}
WITH_SECRET = {"event": "lead_created", "header_auth_key": "X-A", "header_auth_value": "canary-secret"}
PATH = "/tenants/simulated/webhooks"


async def failure(api: Api, *replies: Reply, create: bool = False) -> AuroraError:
    """Return what a call raises for these responses, which has no secret in it."""
    api.replies = list(replies)
    async with api.client() as client:
        with pytest.raises(AuroraError) as raised:
            await (client.create(WITH_SECRET) if create else client.list())
    shown = "".join(traceback.format_exception(raised.value)) + repr(raised.value) + repr(vars(raised.value))
    assert "canary" not in shown
    return raised.value


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with scripted(tmp_path) as api:
        yield api


def test_every_reason_has_a_remedy() -> None:
    assert set(API_REMEDIES) == set(ApiReason)


async def test_it_lists_creates_updates_and_deletes_what_the_simulator_has(
    aurora_simulator: Simulator, tmp_path: Path
) -> None:
    settings = settings_for(aurora_simulator.url, tmp_path, token=aurora_simulator.token)
    async with connected(settings) as client:
        assert await client.list() == ()
        await client.create(
            {
                "event": "agreement_status_changed",
                "url_template": "https://hooks.example.com/?s=<STATUS>",
                "filters": {"<STATUS>": ["signed"]},
                "header_auth_key": "X-Token",
                "header_auth_value": "canary",
            }
        )
        (created,) = await client.list()
        assert created == Subscription(
            created.id,
            "agreement_status_changed",
            "https://hooks.example.com/?s=<STATUS>",
            enabled=True,
            description="",
            filters={"status": frozenset({"signed"})},
            header_auth_key="X-Token",
            basic_auth_username="",
            secret_is_set=True,
        )
        assert "hooks.example.com" not in repr(created)  # it may have a secret in it
        await client.update(created.id, {"enabled": False, "filters": {}})
        (updated,) = await client.list()
        assert (updated.enabled, updated.filters, updated.secret_is_set) == (False, {}, True)
        await client.delete(created.id)
        await client.delete(created.id)
        assert await client.list() == ()


async def test_what_is_sent_to_a_partner_application_has_its_path_and_its_name(api: Api) -> None:
    api.replies = [EMPTY, Reply(201, {}), Reply(200, {}), Reply(204)]
    async with api.client(owner="partner_application_id") as client:
        await client.list()
        await client.create({"event": "lead_created"})
        await client.update("a/b", {"enabled": True})
        await client.delete("w-1")
    path, wrapper = "/partner_applications/simulated/webhooks", "partner_application_webhook"
    assert [(asked.method, asked.path, asked.body) for asked in api.asked] == [
        ("GET", path, None),
        ("POST", path, {wrapper: {"event": "lead_created"}}),
        ("PUT", f"{path}/a%2Fb", {wrapper: {"enabled": True}}),
        ("DELETE", f"{path}/w-1", None),
    ]
    assert {asked.authorization for asked in api.asked} == {f"Bearer {TOKEN}"}


async def test_an_update_whose_method_is_not_served_is_sent_as_patch(api: Api) -> None:
    api.replies = [Reply(405), Reply(200, {})]
    async with api.client() as client:
        await client.update("w-1", {"enabled": True})
    assert [asked.method for asked in api.asked] == ["PUT", "PATCH"]


@pytest.mark.parametrize(
    "envelope",
    [
        [ONE],
        {"webhooks": [ONE]},
        {"partner_application_webhooks": [ONE], "included": []},
        {"data": [ONE], "errors": []},
        {"subscriptions": [{"webhook": ONE}], "page": 1},
        {"webhooks": [ONE], "meta": {"total": 1, "next_page": None}, "links": {"next": None}},
    ],
)
async def test_a_list_is_read_in_any_envelope(api: Api, envelope: object) -> None:
    api.replies = [Reply(body=envelope)]
    async with api.client() as client:
        assert await client.list() == (Subscription("w-1", "lead_created"),)


@pytest.mark.parametrize(
    ("first", "headers"),
    [
        ({"links": {"next": "?page=2"}}, {}),
        ({"links": {"next": {"href": f"{PATH}?page=2"}}}, {}),
        ({"next": f"{PATH}?page=2"}, {}),
        ({}, {"Link": f'<{PATH}?page=2>; rel="next"'}),
    ],
)
async def test_a_list_is_followed_to_its_end(api: Api, first: dict[str, object], headers: dict[str, str]) -> None:
    api.replies = [Reply(body={"webhooks": [ONE], **first}, headers=headers), Reply(body={"webhooks": [{"id": 2}]})]
    async with api.client() as client:
        assert [one.id for one in await client.list()] == ["w-1", "2"]
    assert [asked.path for asked in api.asked] == [PATH, f"{PATH}?page=2"]


@pytest.mark.parametrize(
    "more",
    [
        {"has_more": True},
        {"meta": {"next_page": 2}},
        {"pagination": {"next_cursor": "abc"}},
        {"next": 2},
        {"total": 3},
        {"meta": {"total_count": 2}},
        {"next": "https://elsewhere.example.com/webhooks"},
        {"next": "https://["},
        {"next": PATH},
        {"webhooks": [ONE, {"event": "lead_created"}]},
    ],
)
async def test_nothing_is_concluded_from_a_part_of_a_list(api: Api, more: dict[str, object]) -> None:
    error = await failure(api, Reply(body={"webhooks": [ONE], **more}))
    assert error.reason is ApiReason.INCOMPLETE
    assert len(api.asked) == 1


async def test_a_header_that_leads_nowhere_leaves_the_list_incomplete(api: Api) -> None:
    error = await failure(api, Reply(body={"webhooks": [ONE]}, headers={"Link": '<https://[>; rel="next"'}))
    assert error.reason is ApiReason.INCOMPLETE


@pytest.mark.parametrize(
    "reply",
    [
        Reply(body=b'{"webhooks": [{"id": "w-1"}, {"id"'),
        Reply(body=b'{"webhooks": [{"id": "w-1"}]}', cut=20),
        Reply(body=b"<html>Please sign in</html>"),
        Reply(body={"errors": []}),
        Reply(body={"one": [], "other": []}),
        Reply(body="canary"),
        Reply(301, headers={"Location": "https://elsewhere.example.com"}),
        Reply(body=b" " * (8 * 2**20 + 1)),
    ],
)
async def test_half_an_answer_and_one_of_something_else_are_told(api: Api, reply: Reply) -> None:
    assert (await failure(api, reply)).reason is ApiReason.UNEXPECTED_RESPONSE
    assert len(api.asked) == 1


@pytest.mark.parametrize(
    ("status", "reason", "in_doubt"),
    [
        (400, ApiReason.INVALID, False),
        (401, ApiReason.UNAUTHORIZED, False),
        (403, ApiReason.NOT_PROVISIONED, False),
        (404, ApiReason.NOT_FOUND, False),
        (418, ApiReason.UNEXPECTED_RESPONSE, False),
        (422, ApiReason.INVALID, False),
        (500, ApiReason.SERVER_ERROR, True),
        (503, ApiReason.SERVER_ERROR, True),
    ],
)
async def test_each_status_has_its_reason_with_auroras_own_words(
    api: Api, status: int, reason: ApiReason, *, in_doubt: bool
) -> None:
    words = {"errors": [{"message": f"header_auth_value canary-secret\nis bad, {TOKEN}, token=canary."}, "second"]}
    error = await failure(api, Reply(status, words), create=True)
    assert (error.reason, error.status, error.in_doubt) == (reason, status, in_doubt)
    assert error.messages == ("header_auth_value *** is bad, ***, token=***", "second")
    assert str(error).startswith(f"POST {PATH}: ")
    assert str(error).endswith(" The change may have been made nevertheless.") == in_doubt


@pytest.mark.parametrize("body", [b"", b"[]", b'{"errors": {}}', b'{"errors": [{"message": 1}, null, {}]}'])
async def test_an_error_without_words_is_told_without_them(api: Api, body: bytes) -> None:
    assert (await failure(api, Reply(422, body))).messages == ()


@pytest.mark.parametrize(
    ("retry_after", "seconds"),
    [("7", 7), ("0", 1), ("86400", 120), ("soon", 10), ("nan", 10), (None, 10), ("-1", 1)],
)
async def test_the_rate_limit_is_waited_for_as_it_says(api: Api, retry_after: str | None, seconds: float) -> None:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    api.replies = [Reply(429, headers=headers), EMPTY]
    async with api.client() as client:
        assert await client.list() == ()
    assert api.waits == [seconds]


async def test_the_rate_limit_can_name_a_time(api: Api) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    api.replies = [Reply(429, headers={"Retry-After": until}), EMPTY]
    async with api.client() as client:
        await client.list()
    assert 40 < api.waits[0] <= 60


async def test_patience_with_the_rate_limit_ends(api: Api) -> None:
    error = await failure(api, *[Reply(429, headers={"Retry-After": "100"})] * 4)
    assert (error.reason, error.retry_after) == (ApiReason.RATE_LIMITED, 100)
    assert api.waits == [100, 100, 100]


async def test_no_minute_has_more_requests_than_the_key_may_send(api: Api) -> None:
    api.replies = [Reply(204)] * (REQUESTS_A_MINUTE + 2)
    async with api.client() as client:
        for _ in range(REQUESTS_A_MINUTE + 2):
            await client.delete("w-1")
            api.now += 0.25
    assert api.waits == [40]


@pytest.mark.parametrize("token", ["", "two words", "é", "one\ntwo"])
async def test_a_file_that_holds_no_key_is_told_before_anything_is_sent(api: Api, token: str) -> None:
    async with api.client() as client:
        (api.folder / "api-token").write_text(token)
        with pytest.raises(AuroraError, match="api-token: it") as raised:
            await client.list()
    assert (raised.value.reason, api.asked) == (ApiReason.TOKEN_UNUSABLE, [])


@pytest.mark.proves("Where each secret lives: the key of Aurora's API")
async def test_a_changed_key_holds_for_the_next_call(api: Api) -> None:
    api.replies = [EMPTY, EMPTY]
    async with api.client() as client:
        await client.list()
        (api.folder / "api-token").write_text("another")
        await client.list()
    assert [asked.authorization for asked in api.asked] == [f"Bearer {TOKEN}", "Bearer another"]


async def test_an_api_that_is_not_there_is_told(tmp_path: Path) -> None:
    error = await failure(Api(nowhere(), tmp_path), create=True)
    assert (error.reason, error.in_doubt) == (ApiReason.UNREACHABLE, False)
    assert "no connection to 127.0.0.1 (" in str(error)


async def test_a_host_without_an_address_is_told(tmp_path: Path) -> None:
    error = await failure(Api("https://aurora.invalid", tmp_path))
    assert error.reason is ApiReason.UNREACHABLE


async def test_tls_that_is_none_is_told(api: Api) -> None:
    api.url = api.url.replace("http:", "https:")
    assert (await failure(api)).reason is ApiReason.TLS_FAILED


async def test_an_answer_that_does_not_come_is_given_up_and_a_change_is_in_doubt(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it never accepts what the kernel has
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with Api(url, tmp_path).client(request_seconds=0.05) as client:
            with pytest.raises(AuroraError, match=r"no response within 0\.05 s") as raised:
                await client.create({"event": "lead_created"})
    assert (raised.value.reason, raised.value.in_doubt) == (ApiReason.TIMED_OUT, True)
