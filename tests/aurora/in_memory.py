"""An Aurora in memory, by the simulator's own rules for subscriptions, and a bridge whose settings a test writes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from aurora_bridge.aurora.apply import Applied, carry_out
from aurora_bridge.aurora.checks import Finding, check
from aurora_bridge.aurora.client import AuroraClient
from aurora_bridge.aurora.desired import WantedSubscriptions, wanted_of
from aurora_bridge.aurora.diff import Plan, plan
from aurora_bridge.aurora.errors import ApiReason, AuroraError
from aurora_bridge.aurora.export import exported
from aurora_bridge.aurora.receiver import Receiver
from aurora_bridge.aurora.subscription import Subscription, read_subscription
from aurora_bridge.metrics import Metrics
from aurora_bridge.routing import make_routing, secret_names
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import Settings, load
from aurora_bridge.simulator import subscriptions as simulated

OWNER = "tenants/simulated"
SECRETS = {
    "tokens": "# the old one first\ncanary-old\ncanary-new\n",
    "basic": "bridge:canary-old\nme@example.com:canary pass:word!\nbridge:canary-new\n",
    "other": "canary-other\n",
}
PUBLIC = '[ingress]\npublic_url = "https://hooks.example.com"\n'
TOKENS = PUBLIC + '[auth]\ntokens_file = "tokens"\n'


class Aurora:
    """What an `AuroraClient` is to those that call it; `failures` are raised by its next changes."""

    def __init__(self, *bodies: Mapping[str, object]) -> None:
        self._has = simulated.Subscriptions()
        self._made = 0
        self.failures: list[AuroraError] = []
        self.hidden: frozenset[str] = frozenset()
        """Fields that it does not show."""
        for body in bodies:
            self.add(body)

    def add(self, body: Mapping[str, object]) -> str:
        self._made += 1
        try:
            self._has.add(simulated.created(f"w-{self._made}", OWNER, dict(body)))
        except simulated.RefusedError as error:
            raise AuroraError(ApiReason.INVALID, "POST", str(error), status=422) from None
        return f"w-{self._made}"

    def raw(self) -> list[simulated.Subscription]:
        """Return what it has, secrets as they are."""
        return list(self._has)

    def now(self) -> list[Subscription]:
        shown = [{name: value for name, value in one.shown().items() if name not in self.hidden} for one in self._has]
        return [one for one in map(read_subscription, shown) if one is not None]

    async def list(self) -> Sequence[Subscription]:
        return self.now()

    async def create(self, fields: Mapping[str, object]) -> None:
        self._fail()
        self.add(fields)

    async def update(self, subscription_id: str, fields: Mapping[str, object]) -> None:
        self._fail()
        self._has.add(simulated.updated(self._has[subscription_id], dict(fields)))

    async def delete(self, subscription_id: str) -> None:
        self._fail()
        self._has.remove(subscription_id)

    def _fail(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


class Bridge:
    """A bridge of some settings, with the secret files beside them."""

    def __init__(self, folder: Path, toml: str) -> None:
        for name, text in SECRETS.items():
            (folder / name).write_text(text)
        (folder / "bridge.toml").write_text(toml)
        self.folder = folder
        self.settings: Settings = load(folder / "bridge.toml", {})
        metrics = Metrics()
        routes = make_routing(self.settings, SecretFiles(metrics), metrics).routes
        self.receiver = Receiver(self.settings, routes)
        self._secret_names = secret_names(self.settings)

    def redact(self, url: str) -> str:
        return self._secret_names.redact_target(url.encode())

    def wanted(self, toml: str) -> WantedSubscriptions:
        file = self.folder / "subscriptions.toml"
        file.write_text(toml)
        return wanted_of(load(file, {}).subscriptions, self.settings, self.receiver)

    def plan(self, toml: str, aurora: Aurora, **options: Any) -> Plan:  # noqa: ANN401 - those of `plan`
        return plan(self.wanted(toml).subscriptions, aurora.now(), self.redact, **options)

    def findings(self, toml: str, aurora: Aurora, **options: Any) -> list[Finding]:  # noqa: ANN401 - likewise
        return check(self.plan(toml, aurora, **options), self.wanted(toml).left_out, self.receiver)

    def export(self, aurora: Aurora) -> str:
        return "\n".join(exported(aurora.now(), self.settings, self.receiver, self.redact))

    async def apply(self, toml: str, aurora: Aurora, **options: Any) -> Applied:  # noqa: ANN401 - likewise
        changes = self.plan(toml, aurora, **options).changes
        return await carry_out(cast("AuroraClient", aurora), changes, lambda *_: None)


def table(**keys: object) -> str:
    """Return a `[[subscriptions]]`; a text stands as it is."""
    return "[[subscriptions]]\n" + "".join(f"{name} = {value}\n" for name, value in keys.items())
