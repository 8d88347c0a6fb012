"""The simulator's HTTP API, over a socket, with a receiver that answers as it is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from aurora_bridge.simulator.api import TOKEN, serving
from aurora_bridge.simulator.aurora import Aurora
from aurora_bridge.simulator.clock import Clock
from aurora_bridge.simulator.engine import Engine, World
from tests.simulator.acting import BEGIN, EVENT, REFUSED
from tests.simulator.test_engine import Monotonic, Receiver

WEBHOOKS = "/tenants/t-1/webhooks"
Ask = Callable[..., Any]


@asynccontextmanager
async def api(receiver: Receiver | None = None, requests_a_minute: int = 1000) -> AsyncIterator[Ask]:
    engine = Engine(lambda: World(Aurora(), BEGIN), Clock(0.0, Monotonic()), (receiver or Receiver()).send)
    async with (
        serving(engine, "127.0.0.1", 0, requests_a_minute=requests_a_minute) as url,
        aiohttp.ClientSession(url) as session,
    ):

        async def ask(
            method: str, path: str, body: object = None, token: str = TOKEN
        ) -> tuple[int, Any, dict[str, str]]:
            headers = {"Authorization": f"Bearer {token}"}
            async with session.request(method, path, json=body, headers=headers) as response:
                document = await response.json() if response.content_length else None
                return response.status, document, dict(response.headers)

        yield ask


def webhook(**fields: object) -> dict[str, object]:
    return {"webhook": {"event": EVENT, "url_template": "http://x.test/?a=<AGREEMENT_ID>&s=<STATUS>", **fields}}


async def test_a_subscription_is_created_listed_retrieved_updated_and_deleted() -> None:
    async with api() as ask:
        status, created, _ = await ask("POST", WEBHOOKS, webhook(description="mine"))
        path = f"{WEBHOOKS}/{created['webhook']['id']}"
        assert status == 201
        assert (await ask("GET", WEBHOOKS))[1] == {"webhooks": [created["webhook"]]}
        assert (await ask("GET", "/tenants/t-2/webhooks"))[1] == {"webhooks": []}
        _, updated, _ = await ask("PUT", path, {"webhook": {"enabled": False}})
        assert updated["webhook"] == {**created["webhook"], "enabled": False}
        assert (await ask("GET", path))[1] == updated
        assert (await ask("DELETE", path))[0] == 204
        assert (await ask("GET", path))[0] == 404


async def test_partner_applications_have_a_name_of_their_own_for_it() -> None:
    async with api() as ask:
        path = "/partner_applications/a-1/webhooks"
        _, created, _ = await ask("POST", path, {"partner_application_webhook": webhook()["webhook"]})
        one = f"{path}/{created['partner_application_webhook']['id']}"
        status, updated, _ = await ask("PUT", one, {"partner_application_webhook": {"enabled": False}})
        assert (status, updated["partner_application_webhook"]["enabled"]) == (200, False)


@pytest.mark.parametrize(
    ("method", "path", "body", "token", "status"),
    [
        ("GET", WEBHOOKS, None, "wrong", 401),
        ("GET", f"{WEBHOOKS}/unknown", None, TOKEN, 404),
        ("GET", "/elsewhere", None, TOKEN, 404),
        ("PATCH", WEBHOOKS, None, TOKEN, 405),
        ("POST", WEBHOOKS, {"webhook": {}}, TOKEN, 422),
        ("POST", WEBHOOKS, {}, TOKEN, 422),
        ("POST", WEBHOOKS, [], TOKEN, 422),
        ("POST", "/_clock/advance", {"hours": -1}, "", 422),
        ("POST", "/_trigger", {}, "", 422),
        ("POST", "/_fail", {"status": 200}, "", 422),
        ("POST", "/_fail", {"status": 403, "times": 2.0}, "", 422),
    ],
)
async def test_an_error_has_a_message(method: str, path: str, body: object, token: str, status: int) -> None:
    async with api() as ask:
        answered, document, _ = await ask(method, path, body, token)
        assert answered == status
        assert document["errors"][0]["message"]


async def test_a_sixth_subscription_of_an_event_is_refused() -> None:
    async with api() as ask:
        assert [(await ask("POST", WEBHOOKS, webhook()))[0] for _ in range(6)] == [201] * 5 + [422]


async def test_too_many_requests_are_told_to_wait_and_the_simulators_own_paths_are_not() -> None:
    async with api(requests_a_minute=2) as ask:
        answers = [await ask("GET", WEBHOOKS) for _ in range(3)]
        assert [status for status, _, _ in answers] == [200, 200, 429]
        assert 0 < int(answers[2][2]["Retry-After"]) <= 60
        assert (await ask("GET", "/_ledger"))[0] == 200


async def test_what_is_triggered_is_in_the_ledger_with_its_retries_and_can_be_read_back() -> None:
    async with api(Receiver(REFUSED)) as ask:
        await ask("POST", WEBHOOKS, webhook())
        given = {"agreement_id": "a-1", "status": "cancel-pending"}
        status, triggered, _ = await ask("POST", "/_trigger", {"event": EVENT, "attributes": given})
        assert (status, len(triggered["deliveries"])) == (200, 1)
        _, clock, _ = await ask("POST", "/_clock/advance", {"hours": 24})
        assert clock == {"now": "2023-11-15T22:13:20+00:00"}
        ledger = (await ask("GET", f"/_ledger?event={EVENT}"))[1]
        (delivery,) = ledger["deliveries"]
        assert delivery["state"] == "failed"
        assert [attempt["status"] for attempt in delivery["attempts"]] == [503] * 6
        assert delivery["attempts"][0]["url"] == "http://x.test/?a=a-1&s=cancel-pending"
        assert ledger["totals"] == {"happened": 1, "attempts": 6, "refused": 6, "failed": 1}
        agreement = (await ask("GET", "/tenants/t-1/agreements/a-1"))[1]["agreement"]
        assert (agreement["id"], agreement["status"]) == ("a-1", "cancel_pending")


async def test_a_resend_and_a_reset() -> None:
    async with api() as ask:
        await ask("POST", WEBHOOKS, webhook())
        await ask("POST", "/_trigger", {"event": EVENT})
        assert (await ask("POST", "/_resend", {"hours": 1}))[1] == {"deliveries": 1}
        assert (await ask("GET", "/_ledger"))[1]["totals"]["delivered"] == 2
        assert (await ask("POST", "/_reset"))[0] == 204
        assert (await ask("GET", "/_ledger"))[1] == {"totals": {}, "pending": 0, "deliveries": []}
        assert (await ask("GET", WEBHOOKS))[1] == {"webhooks": []}


async def test_failures_that_are_asked_for_come_first() -> None:
    async with api() as ask:
        assert (await ask("POST", "/_fail", {"status": 403, "times": 2}))[0] == 204
        answers = [await ask("GET", WEBHOOKS) for _ in range(3)]
        assert [status for status, _, _ in answers] == [403, 403, 200]
        assert answers[0][1]["errors"][0]["message"]
