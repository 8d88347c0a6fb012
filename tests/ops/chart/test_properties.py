"""Whatever values come: Helm refuses them with a message, or the daemon takes the file that it renders.

Values are drawn from what the schema takes, at its bounds, and laid over a scenario; templates of routes from pieces
that are likely to contradict each other. A failure here is a rule of the daemon that the chart does not know.
"""

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aurora_bridge.webhook.catalogue import CATALOGUE, LEGACY_NAMES
from tests.cli.here import here
from tests.ops.chart.rendering import CHART, SCENARIOS, Objects, RefusedError, merged, render, settings_folder

pytestmark = [pytest.mark.ops, pytest.mark.slow]

SCHEMA: Final = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]
BASES: Final = {file.stem: yaml.safe_load(file.read_text()) for file in SCENARIOS}

TOLD: Final = re.compile(
    r"(?m)^(settings|replicaCount|persistence)[\w.\[\]]*( and settings[\w.\[\]]*)?( could both|: | ?.*came)"
)
"""A line of a refusal by the templates: which value it is about."""

LEAST: Final = 15

LOOKED_AT: Final = settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a render takes its time, and shrinking hundreds of them
    suppress_health_check=list(HealthCheck),
)

Values = dict[str, Any]


Judge = Callable[[Values], None]


@pytest.fixture
def judge(helm4: str, tmp_path: Path, pem: Path) -> Iterator[Judge]:
    """What fails if the daemon refuses what Helm renders, or Helm does not say why it renders nothing.

    A property of which only one of the two sides was seen is none.
    """
    outcomes: Counter[str] = Counter()

    def judge(values: Values) -> None:
        try:
            rendered = render(helm4, merged({"persistence": {"size": "9Ti"}}, values))
        except RefusedError as refused:
            said = str(refused)
        else:
            outcomes["taken"] += 1
            taken_by_daemon(rendered, tmp_path, pem)
            return
        outcomes["refused"] += 1
        assert TOLD.search(said) or "specifications of the schema" in said, said

    yield judge
    assert min(outcomes["taken"], outcomes["refused"]) >= LEAST, outcomes


def taken_by_daemon(rendered: Objects, folder: Path, pem: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()
    file = settings_folder(rendered, folder, pem)
    said = here("config", "--config", str(file), ingress__host="0.0.0.0", state_dir=folder)  # noqa: S104 - as in a pod
    assert said.returncode == 0, f"{said.stderr}\n{file.read_text()}"


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
def test_no_settings_are_rendered_that_the_daemon_refuses(base: str, changes: Values, judge: Judge) -> None:
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
def test_no_routes_are_rendered_that_the_daemon_refuses(
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
def test_no_events_are_rendered_that_the_daemon_refuses(events: Values, everywhere: list[str], judge: Judge) -> None:
    changed = {"events": events, "index": {"volatile_attributes": everywhere}}
    judge(merged(BASES["minimal"], {"settings": changed}))
