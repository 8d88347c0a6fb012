"""Whatever settings come, the daemon gets them as they are, or Helm refuses them with a message.

Values are drawn from what the schema takes, at its bounds, and laid over a scenario; templates of routes from pieces
with every character that TOML or YAML could take for its own. What the daemon then says to them is its own business.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aurora_bridge.webhook.catalogue import CATALOGUE, LEGACY_NAMES
from tests.ops.chart.rendering import CHART, SCENARIOS, RefusedError, merged, render

pytestmark = [pytest.mark.ops, pytest.mark.slow]

SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]
BASES: Final = {file.stem: yaml.safe_load(file.read_text()) for file in SCENARIOS}

TOLD: Final = re.compile(r"(?m)^(settings|replicaCount)[\w.\[\]]*: .*")
"""A line of a refusal by the templates: which value it is about."""

LEAST: Final = 15
"""Of the examples, how many must be rendered, for a property to be one."""

LOOKED_AT: Final = settings(
    max_examples=60,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a render takes its time, and shrinking hundreds of them
    suppress_health_check=list(HealthCheck),
)

Values = dict[str, Any]


Judge = Callable[[Values], None]


@pytest.fixture
def judge(helm4: str) -> Iterator[Judge]:
    """What fails if a setting does not reach the daemon as it was given, or Helm does not say why it renders none."""
    reached = 0

    def judge(values: Values) -> None:
        nonlocal reached
        try:
            rendered = render(helm4, merged(values, {"persistence": {"size": "9Ti"}}))
        except RefusedError as refused:
            said = str(refused)
        else:
            reached += 1
            assert lost(values["settings"], rendered.settings()) is None
            return
        assert TOLD.search(said) or "specifications of the schema" in said, said

    yield judge
    assert reached >= LEAST


def lost(given: object, reached: object) -> object:
    """Return what of the values did not reach the settings file, None if all did."""
    if isinstance(given, dict) and isinstance(reached, dict):
        for name, value in given.items():
            if (name == "kafka" and given.get("embedded")) or (name == "subscriptions" and not value):
                continue  # nothing is written of what the daemon has no use for, nor of a list of tables that is empty
            if isinstance(value, dict) and value.keys() <= {"existingSecret", "existingConfigMap", "key", "file"}:
                value, name = path(value), f"{name}_file"  # noqa: PLW2901 - as the daemon calls it
            if value not in (None, {}) and lost(value, reached.get(name)) is not None:
                return name, value, reached.get(name)
        return None
    if isinstance(given, list) and isinstance(reached, list) and len(given) == len(reached):
        return next((each for each in map(lost, given, reached) if each is not None), None)
    return None if given == reached else (given, reached)


def path(reference: Values) -> str | None:
    """Return where the daemon finds a secret."""
    if reference.get("existingSecret"):
        return f"secret/{reference['existingSecret']}/{reference['key']}"
    return reference.get("file")


def numbers(kind: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return numbers of a kind, often at its bounds."""
    if kind["type"] == "integer":
        low, high = kind["minimum"], kind["maximum"]
        return st.sampled_from([low, low + 1, high - 1, high]) | st.integers(low, high)
    low, high = kind.get("minimum", kind.get("exclusiveMinimum")), kind.get("maximum", kind.get("exclusiveMaximum"))
    return st.floats(
        low, high, exclude_min="exclusiveMinimum" in kind, exclude_max="exclusiveMaximum" in kind, allow_subnormal=False
    ) | st.integers(low + 1, high - 1)


def values_of(kind: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Return values that a part of the schema takes."""
    if "anyOf" in kind:
        return st.one_of(*map(values_of, kind["anyOf"]))
    if "const" in kind or "enum" in kind:
        return st.sampled_from(kind.get("enum", [kind.get("const")]))
    if "type" not in kind:
        return st.booleans()  # of a setting that was replaced, whose refusal is the templates'
    if isinstance(kind["type"], list):
        return st.none() | values_of({**kind, "type": kind["type"][0]})
    return BY_TYPE[kind["type"]](kind)


def texts(kind: Mapping[str, Any]) -> st.SearchStrategy[str]:
    return st.from_regex(kind["pattern"], fullmatch=True, alphabet=st.characters(max_codepoint=0x7E))


def lists(kind: Mapping[str, Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(values_of(kind["items"]), min_size=kind.get("minItems", 0), max_size=3)


REFERENCES: Final[st.SearchStrategy[Values]] = st.sampled_from(
    [
        {},
        {"existingSecret": "one", "key": "a"},
        {"existingSecret": "one", "key": "b.c"},
        {"existingSecret": "two", "key": "a"},
        {"existingSecret": "one"},
        {"file": "/run/agent/a"},
        {"existingSecret": None, "key": None, "file": "/run/agent/a"},
        {"existingSecret": "one", "key": "a", "file": "/run/agent/a"},
    ]
)


def objects(kind: Mapping[str, Any]) -> st.SearchStrategy[Values]:
    """Return objects with one or two of the properties of a kind."""
    if "existingSecret" in kind["properties"]:
        return REFERENCES
    names = st.lists(st.sampled_from(sorted(kind["properties"])), min_size=1, max_size=2, unique=True)
    return names.flatmap(
        lambda some: st.fixed_dictionaries({name: values_of(kind["properties"][name]) for name in some})
    )


BY_TYPE: Final[Mapping[str, Callable[[Mapping[str, Any]], st.SearchStrategy[Any]]]] = {
    "boolean": lambda _kind: st.booleans(),
    "integer": numbers,
    "number": numbers,
    "string": texts,
    "array": lists,
    "object": objects,
}

GROUPS: Final = sorted(set(SCHEMA["properties"]) - {"routes", "events"})
CHANGES: Final = st.lists(st.sampled_from(GROUPS), min_size=1, max_size=3, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: values_of(SCHEMA["properties"][name]) for name in names})
)


@given(base=st.sampled_from(sorted(BASES)), changes=CHANGES)
@LOOKED_AT
def test_every_setting_reaches_the_daemon(base: str, changes: Values, judge: Judge) -> None:
    judge(merged(BASES[base], {"settings": changes}))


PIECE: Final = st.sampled_from(
    [
        "a",
        "b",
        "a-b",
        "<X>",
        "<DESIGN_REQUEST_ID_IN_AURORA>",
        "<PROJECT_ID>",
        "v-<X>",
        "<X>.json",
        "v-<X>-<Y>",
        "v-1",
        "",
        "~",
    ]
)
PARAMETER: Final = st.sampled_from(
    ["x=<X>", "id=<LEAD_ID>", "k=1", "k=2", "k", "token=1", "t=<SESSION_TOKEN>", "api-key=<API_KEY>", "v=a-<A>-<B>", ""]
)
WRITTEN: Final = st.builds(
    lambda host, path, query: f"{host}/{'/'.join(path)}{'?' if query else ''}{'&'.join(query)}",
    st.sampled_from(["", "", "https://hooks.example.com"]),
    st.lists(PIECE, max_size=3),
    st.lists(PARAMETER, max_size=3, unique_by=lambda parameter: parameter.partition("=")[0]) | st.lists(PARAMETER),
)
MESSY: Final = st.lists(
    st.sampled_from([*"/?&=<>#%+;'\"\\{}|^`~$ é", "%3C", "%2F", "<X>", "<Y>", "a", "k=1", "https://", "</", "\n"]),
    min_size=1,
    max_size=8,
).map("".join)
TAKEN: Final = st.sampled_from([{"existingSecret": "one", "key": "a"}, {"file": "/run/agent/a"}, {}])
ROUTE: Final = st.fixed_dictionaries(
    {
        "template": st.one_of(*[WRITTEN] * 12, MESSY),
        "event": st.sampled_from([*CATALOGUE, *LEGACY_NAMES, "unheard_of"]),
    },
    optional={
        "tenant": st.sampled_from(["acme", "sunny"]),
        "filtered": st.booleans(),
        "tokens": TAKEN,
        "basic": TAKEN,
        "header": st.sampled_from(["X-Token", None]),
        "query_parameter": st.sampled_from(["key", "X", None, None, None]),
        "allow_anonymous": st.sampled_from([True, True, False, None]),
    },
)
AUTH: Final = st.sampled_from(
    [
        {"tokens": {"existingSecret": "all", "key": "tokens"}},
        {"basic": {"existingSecret": "all", "key": "basic"}},
        {"tokens": {"existingSecret": "all", "key": "tokens"}, "query_parameter": "project_id"},
        {"tokens": None, "allow_anonymous": True},
        {"tokens": None, "basic": {"existingSecret": "all", "key": "basic"}},
        {"tokens": None},
    ]
)
SECRETS: Final = st.sampled_from([["token", "session_token"], ["lead_id"], ["design_request_id"], ["api_key"]])


@given(routes=st.lists(ROUTE, min_size=1, max_size=3), default_route=st.booleans(), auth=AUTH, secrets=SECRETS)
@LOOKED_AT
def test_every_route_reaches_the_daemon(
    routes: list[Values], default_route: object, auth: Values, secrets: list[str], judge: Judge
) -> None:
    hidden = {"secret_parameters": secrets}
    changed = {"routes": routes, "default_route": default_route, "auth": auth, "ingress": hidden}
    judge(merged(BASES["minimal"], {"settings": changed}))


ATTRIBUTE: Final = st.sampled_from(["lead_id", "status", "project_id", "roof_id", "updated_at"])
EVENT: Final = st.fixed_dictionaries(
    {},
    optional={
        "recurrence": st.sampled_from(["once", "state", "signal", None]),
        "identifier": ATTRIBUTE | st.none(),
        "state_attribute": ATTRIBUTE | st.none(),
        "volatile_attributes": st.lists(ATTRIBUTE, max_size=2),
        "repeat_window_seconds": st.sampled_from([0, 60, 2592000, None]),
    },
)


@given(
    events=st.dictionaries(st.sampled_from([*CATALOGUE, *LEGACY_NAMES, "roof_painted"]), EVENT, min_size=1, max_size=3),
    everywhere=st.lists(ATTRIBUTE, max_size=1),
)
@LOOKED_AT
def test_what_is_known_of_events_reaches_the_daemon(events: Values, everywhere: list[str], judge: Judge) -> None:
    changed = {"events": events, "index": {"volatile_attributes": everywhere}}
    judge(merged(BASES["minimal"], {"settings": changed}))
