"""The HTTP API of the simulated Aurora: subscriptions and objects as Aurora serves them, and controls of its own.

`/tenants/...` and `/partner_applications/...` require a bearer token and are rate-limited; paths that begin with an
underscore control the simulator, and are neither.
"""

import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from random import Random
from time import monotonic
from typing import Any, Final

import orjson
from aiohttp import web

from aurora_bridge.simulator.engine import Engine
from aurora_bridge.simulator.objects import KINDS
from aurora_bridge.simulator.rate_limit import MOST, RateLimit
from aurora_bridge.simulator.stories import Occurrence
from aurora_bridge.simulator.subscriptions import RefusedError, Subscription, created, updated
from aurora_bridge.simulator.values import new_id, plausible

TOKEN: Final = "simulated"  # noqa: S105 - of a simulator on loopback
_SCOPES: Final = {"tenants": "webhook", "partner_applications": "partner_application_webhook"}
_WEBHOOKS: Final = "/{scope:tenants|partner_applications}/{owner}/webhooks"
_FAILURES: Final = range(400, 600)
_TIMES: Final = range(1, 1001)
_HOUR: Final = 3600.0
_MOST_HOURS: Final = 24.0 * 365

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(
    engine: Engine, host: str, port: int, *, token: str = TOKEN, requests_a_minute: int = MOST
) -> AsyncIterator[str]:
    """Serve the API; yield its URL. Raises `OSError` if it cannot listen."""
    api = _Api(engine, token, requests_a_minute)
    runner = web.AppRunner(api.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        where, at = runner.addresses[0][:2]
        yield f"http://{f'[{where}]' if ':' in where else where}:{at}"
    finally:
        await runner.cleanup()


class _Api:
    def __init__(self, engine: Engine, token: str, requests_a_minute: int) -> None:
        self._engine = engine
        self._token = token
        self._limits: dict[str, RateLimit] = defaultdict(lambda: RateLimit(requests_a_minute))
        self._failures: deque[int] = deque()
        """Statuses of the next answers, as requested by `/_fail`."""
        self._random = Random()  # noqa: S311 - no cryptography

    def application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard])
        application.add_routes(
            [
                web.get(_WEBHOOKS, self._list),
                web.post(_WEBHOOKS, self._create),
                web.get(_WEBHOOKS + "/{id}", self._retrieve),
                web.put(_WEBHOOKS + "/{id}", self._update),
                web.delete(_WEBHOOKS + "/{id}", self._delete),
                *(web.get(f"/tenants/{{owner}}/{{kind:{kind}}}/{{id}}", self._object) for kind in KINDS),
                web.get("/_clock", self._clock),
                web.post("/_clock/advance", self._advance),
                web.post("/_reset", self._reset),
                web.get("/_ledger", self._ledger),
                web.post("/_trigger", self._trigger),
                web.post("/_resend", self._resend),
                web.post("/_fail", self._fail),
            ]
        )
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            if not request.path.startswith("/_") and (refused := self._refusal(request)) is not None:
                return refused
            return await handler(request)
        except RefusedError as error:
            return _error(422, str(error))
        except web.HTTPMethodNotAllowed as error:
            return _error(error.status, f"{request.method} is not served here", Allow=error.headers["Allow"])
        except web.HTTPException as error:
            return _error(error.status, "not found" if error.status == 404 else error.reason)  # noqa: PLR2004

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self._failures:
            return _error(self._failures.popleft(), "failed, as requested by /_fail")
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or key.strip() != self._token:
            return _error(401, "the bearer token is missing or wrong")
        wait = self._limits[key].take(monotonic())  # real time, in which the client waits
        return None if wait is None else _error(429, "too many requests", **{"Retry-After": str(wait)})

    async def _list(self, request: web.Request) -> web.Response:
        owner = _owner(request)
        shown = [one.shown() for one in self._engine.aurora.subscriptions if one.owner == owner]
        return _json({f"{_SCOPES[request.match_info['scope']]}s": shown})

    async def _create(self, request: web.Request) -> web.Response:
        subscription = created(new_id(self._random), _owner(request), await _webhook(request))
        self._change(subscription)
        return _shown(request, subscription, 201)

    async def _retrieve(self, request: web.Request) -> web.Response:
        return _shown(request, self._found(request))

    async def _update(self, request: web.Request) -> web.Response:
        body = await _webhook(request)
        subscription = updated(self._found(request), body)
        self._change(subscription)
        return _shown(request, subscription)

    async def _delete(self, request: web.Request) -> web.Response:
        self._engine.aurora.remove(self._found(request).id)
        return web.Response(status=204)

    async def _object(self, request: web.Request) -> web.Response:
        kind = KINDS[request.match_info["kind"]]
        found = self._engine.aurora.objects.get(kind, request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound
        return _json({kind: dict(found)})

    async def _clock(self, _request: web.Request) -> web.Response:
        return _json({"now": datetime.fromtimestamp(self._engine.clock.now(), UTC).isoformat()})

    async def _advance(self, request: web.Request) -> web.Response:
        await self._engine.advance(await _hours(request) * _HOUR)
        return await self._clock(request)

    async def _reset(self, _request: web.Request) -> web.Response:
        self._engine.reset()
        self._limits.clear()
        self._failures.clear()
        return web.Response(status=204)

    async def _ledger(self, request: web.Request) -> web.Response:
        aurora, event = self._engine.aurora, request.query.get("event")
        deliveries = [one.shown() for one in aurora.ledger if event in {None, one.event}]
        return _json({"totals": dict(aurora.totals), "pending": aurora.pending(), "deliveries": deliveries})

    async def _trigger(self, request: web.Request) -> web.Response:
        body = await _body(request)
        event, given = body.get("event"), body.get("attributes", {})
        if not isinstance(event, str) or not isinstance(given, dict):
            msg = 'the body must be {"event": NAME, "attributes": {NAME: VALUE}}'
            raise RefusedError(msg)
        attributes = plausible(event, self._random, {name: str(value) for name, value in given.items()})
        deliveries = self._engine.happen(Occurrence(self._engine.clock.now(), event, attributes))
        await self._engine.advance(0)  # waits for the answers
        return _json({"attributes": attributes, "deliveries": [one.shown() for one in deliveries]})

    async def _resend(self, request: web.Request) -> web.Response:
        now = self._engine.clock.now()
        count = self._engine.aurora.resend(now - await _hours(request) * _HOUR, now)
        await self._engine.advance(0)
        return _json({"deliveries": count})

    async def _fail(self, request: web.Request) -> web.Response:
        body = await _body(request)
        status, times = body.get("status"), body.get("times", 1)
        if not (isinstance(status, int) and status in _FAILURES and isinstance(times, int) and times in _TIMES):
            msg = 'the body must be like {"status": 403, "times": 1}: status 400 to 599, times 1 to 1000'
            raise RefusedError(msg)
        self._failures.extend([status] * times)
        return web.Response(status=204)

    def _found(self, request: web.Request) -> Subscription:
        found = self._engine.aurora.subscriptions.get(request.match_info["id"], _owner(request))
        if found is None:
            raise web.HTTPNotFound
        return found

    def _change(self, subscription: Subscription) -> None:
        self._engine.aurora.change(subscription)
        self._engine.wake()


def _owner(request: web.Request) -> str:
    return f"{request.match_info['scope']}/{request.match_info['owner']}"


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text() or "{}")
    except ValueError:
        body = None
    if not isinstance(body, dict):
        msg = "the body is not a JSON object"
        raise RefusedError(msg)
    return body


async def _webhook(request: web.Request) -> object:
    """Return the member `webhook` of the body, or `partner_application_webhook`. Raises `RefusedError`."""
    name = _SCOPES[request.match_info["scope"]]
    body = await _body(request)
    if name not in body:
        msg = f"{name} is missing"
        raise RefusedError(msg)
    return body[name]


async def _hours(request: web.Request) -> float:
    hours = (await _body(request)).get("hours")
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 <= hours <= _MOST_HOURS:
        msg = f'hours must be a number from 0 to {_MOST_HOURS:g}, as in {{"hours": 24}}'
        raise RefusedError(msg)
    return float(hours)


def _shown(request: web.Request, subscription: Subscription, status: int = 200) -> web.Response:
    return _json({_SCOPES[request.match_info["scope"]]: subscription.shown()}, status)


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def _error(status: int, message: str, **headers: str) -> web.Response:
    document = {"errors": [{"message": message}]}
    return web.Response(body=orjson.dumps(document), status=status, headers=headers, content_type="application/json")
