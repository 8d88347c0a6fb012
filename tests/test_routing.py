"""From settings to routes: what is wrong is told at once, with number and remedy; what is doubtful is a warning."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import pytest

from aurora_bridge.metrics import Metrics
from aurora_bridge.routing import Routing, make_routing, shown_template
from aurora_bridge.secret_files import SecretFiles
from aurora_bridge.settings import RouteSettings, Settings, SettingsError
from aurora_bridge.webhook.catalogue import Recurrence
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.event import Event, normalise

AGREEMENT: Final = "agreement_status_changed"
TEMPLATE: Final = "/hooks/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>"
QUIET: Final = {"event": AGREEMENT, "template": TEMPLATE}
"""A route about which there is nothing to say."""

SLASH: Final = "A slash too many at the end of a path and an empty placeholder there look alike. "

Tables = Mapping[str, object]


def routing(*routes: Tables, **more: object) -> Routing:
    metrics = Metrics()
    settings = Settings.model_validate({"routes": routes, **more})
    return make_routing(settings, SecretFiles(metrics), metrics)


def problems(*routes: Tables, **more: object) -> Sequence[str]:
    with pytest.raises(SettingsError) as refused:
        routing(*routes, **more)
    return refused.value.problems


def read(target: str, *routes: Tables, **more: object) -> Event:
    return normalise(routing(*routes, **more).routes.match(Delivery("GET", target.encode(), (), 0, 0.0)))


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.write_text("one\n")
    file.chmod(0o600)
    return file


# What stops the start


@pytest.mark.proves("Where each secret lives: A token in a route's template is hidden wherever the template is shown")
def test_a_template_that_cannot_be_used_is_told_with_the_routes_number_and_without_its_secrets() -> None:
    expected = (
        "[[routes]] number 2: the template '/x?token=***&y=<Y' cannot be used: '<Y' has an unmatched < or >. "
        "Write a placeholder as in <PROJECT_ID>."
    )
    assert problems(QUIET, {**QUIET, "template": "/x?token=canary&y=<Y"}) == (expected,)


@pytest.mark.proves("No secret comes out: not in a message about a template")
@pytest.mark.parametrize(
    "template",
    [
        "hooks.example.com/x?token=can,ary",
        "/x?token=can<ary#y",
        "/x?y=<Z&token=canary",
        "/x?a%26token%3Dcanary=<Y>&a%26token%3Dcanary=<Z>",
    ],
)
def test_what_is_wrong_with_a_template_is_told_without_its_secrets(template: str) -> None:
    (told,) = problems({**QUIET, "template": template})
    assert "cannot be used" in told
    assert "ary" not in told


def test_routes_that_one_request_could_match_are_refused_with_both_named() -> None:
    expected = (
        "[[routes]] number 1 and [[routes]] number 3 could both match one request: '/a?token=***' and "
        "'https://h.example/a'. Change a path, or give both the same static parameter with different values."
    )
    others = [{**QUIET, "template": text} for text in ("/a?token=canary", "/b", "https://word@h.example/a")]
    assert problems(*others) == (expected,)


@pytest.mark.parametrize("shorter", ["/hooks?p=<AGREEMENT_ID>", "/hooks/", "https://h.example/hooks?a=<AGREEMENT_ID>"])
def test_so_are_routes_that_only_a_slash_at_the_end_or_an_empty_placeholder_tells_apart(shorter: str) -> None:
    (told,) = problems({**QUIET, "template": "/hooks/<PROJECT_ID>"}, {**QUIET, "template": shorter})
    assert told == (
        f"[[routes]] number 1 and [[routes]] number 2 could both match one request: '/hooks/<PROJECT_ID>' and "
        f"{shorter!r}. {'' if shorter == '/hooks/' else SLASH}Change a path, or give both the same static parameter "
        "with different values."
    )


def test_a_duplicate_route_is_refused() -> None:
    assert len(problems(QUIET, QUIET)) == 1


def test_a_secret_file_that_cannot_be_used_is_told_with_the_route_that_names_it_first(tokens: Path) -> None:
    tokens.write_text("\n")
    named = {**QUIET, "tokens_file": tokens}
    found = problems(QUIET | {"template": "/b"}, named, named | {"template": "/c"})
    assert found == (f"[[routes]] number 2: {tokens} holds no token. Write one per line.",)


def test_without_any_route_there_is_nothing_to_serve() -> None:
    assert problems(default_route=False)[0].startswith("default_route: false leaves no route.")


def test_everything_that_is_wrong_is_told_at_once(tokens: Path) -> None:
    tokens.write_text("")
    found = problems(
        {**QUIET, "template": "x"}, QUIET, {**QUIET, "tokens_file": tokens}, events={"a": {"recurrence": "once"}}
    )
    assert [problem.split(":")[0] for problem in found] == [
        "[events.a]",
        "[[routes]] number 1",
        "[[routes]] number 3",
        "[[routes]] number 2 and [[routes]] number 3 could both match one request",
    ]


@pytest.mark.parametrize(
    ("event", "known", "words"),
    [
        ("roof_painted", {"recurrence": "once"}, "nothing says which attribute identifies the thing"),
        ("lead_changed", {"recurrence": "once"}, "nothing says which attribute identifies the thing"),
        ("roof_painted", {"recurrence": "state", "identifier": "roof_id"}, "which attribute holds the state"),
        (AGREEMENT, {"volatile_attributes": ["status"]}, "volatile_attributes: status tells one"),
        (AGREEMENT, {"volatile_attributes": ["agreement_id"]}, "would be lost as a duplicate"),
    ],
)
def test_an_event_that_could_not_be_judged_is_refused(event: str, known: Tables, words: str) -> None:
    (problem,) = problems(events={event: known})
    assert problem.startswith(f"[events.{event}]")
    assert words in problem


def test_what_tells_two_events_apart_is_volatile_for_no_event() -> None:
    (problem,) = problems(index={"volatile_attributes": ["status", "source"]})
    assert problem.startswith(
        "AURORA_BRIDGE_INDEX__VOLATILE_ATTRIBUTES (index.volatile_attributes in the file): status"
    )
    assert routing(index={"volatile_attributes": ["source"]}).warnings == []


# What is a warning


def test_routes_as_they_should_be_give_no_warning(tokens: Path) -> None:
    assert routing({**QUIET, "tokens_file": tokens}).warnings == []


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (
            {"template": f"{TEMPLATE}&x=<AGREMENT_ID>"},
            f"{AGREEMENT} has no attribute agrement_id that the bridge knows",
        ),
        ({"template": "/x?st=<STATUS>"}, "the template has no agreement_id; without it two events look alike"),
        ({"template": "/x?a=<AGREEMENT_ID>"}, "the template has no status; without it"),
        (
            {"template": "/x?a=<AGREEMENT_ID>&amp;st=<STATUS>"},
            "the template has a parameter 'amp;st', as HTML or a framework writes it; it is read as 'st'. Fix it here",
        ),
        ({"event": "agreement_changed"}, "knows no event 'agreement_changed'"),
        ({"event": "agreement_changed"}, f"Did you mean {AGREEMENT}?"),
        (
            {"event": "design_request_completed", "template": "/x?status=<STATUS>"},
            "Add design_request_id=<DESIGN_REQUEST_ID_IN_AURORA>.",
        ),
    ],
)
def test_what_is_perhaps_not_meant_is_a_warning_with_the_routes_number(route: Tables, words: str) -> None:
    (warning,) = routing({**QUIET, **route}).warnings
    assert warning.startswith("[[routes]] number 1: ")
    assert words in warning


@pytest.mark.parametrize(
    ("template", "base_path", "taken"),
    [
        ("/<AGREEMENT_ID>?st=<STATUS>", "/", True),
        ("/base/<AGREEMENT_ID>?st=<STATUS>", "/base", True),
        ("/<AGREEMENT_ID>?st=<STATUS>", "/base", False),
        ("/a<AGREEMENT_ID>?st=<STATUS>", "/", True),
        ("/a-<AGREEMENT_ID>?st=<STATUS>", "/", False),
        ("/-<AGREEMENT_ID>?st=<STATUS>", "/", False),
        ("/<AGREEMENT_ID>?st=<STATUS>&kind=a", "/", False),
        ("/hooks/<AGREEMENT_ID>?st=<STATUS>", "/", False),
        ("/lead_changed/<AGREEMENT_ID>?st=<STATUS>", "/", True),
        ("/agreement_status_changed/<AGREEMENT_ID>?st=<STATUS>", "/", False),
    ],
)
def test_a_placeholder_that_takes_the_default_routes_paths_is_a_warning(
    template: str, base_path: str, *, taken: bool
) -> None:
    route = {**QUIET, "template": template}
    warnings = routing(route, ingress={"base_path": base_path}).warnings
    assert taken == any("more paths of the default route" in warning for warning in warnings)
    assert len(warnings) == taken
    assert routing(route, default_route=False).warnings == []


def test_a_placeholder_for_a_secret_is_no_warning() -> None:
    route = {"event": "site_survey_requested", "template": "/x?id=<SITE_SURVEY_REQUEST_ID>&s=<SESSION_TOKEN>"}
    assert routing(route).warnings == []


@pytest.mark.proves("Where each secret lives: A secret file that every user of the machine may read causes a warning")
def test_a_secret_file_that_everybody_may_read_is_a_warning_once(tokens: Path) -> None:
    tokens.chmod(0o644)
    named = {**QUIET, "tokens_file": tokens}
    expected = f"{tokens} may be read by every user of this machine. Where that is not meant: chmod o-r {tokens}"
    assert routing(named, named | {"template": "/b?a=<AGREEMENT_ID>&s=<STATUS>"}).warnings == [expected]


@pytest.mark.parametrize("field", ["sasl_password_file", "sasl_token_file", "oauth_client_secret_file", "tls_key_file"])
def test_a_secret_file_of_kafka_that_everybody_may_read_is_a_warning(tokens: Path, field: str) -> None:
    tokens.chmod(0o644)
    (warning,) = routing(kafka={"bootstrap_servers": "kafka:9092", field: tokens}).warnings
    assert warning.startswith(f"{tokens} may be read by every user of this machine.")


PUBLIC = {"public_url": "https://hooks.example.com"}


@pytest.mark.parametrize(
    ("ingress", "routes"),
    [
        (PUBLIC, []),
        ({"public_url": "http://10.0.0.7:8080"}, []),
        ({}, [QUIET | {"template": f"https://hooks.example.com{TEMPLATE}"}]),
    ],
    ids=["a public URL", "one of this network", "the host of a route"],
)
def test_a_proxy_before_a_daemon_without_credentials_is_a_warning_with_the_remedy(
    ingress: Tables, routes: list[Tables]
) -> None:
    (warning,) = routing(*routes, ingress=ingress).warnings
    assert warning.startswith("Anyone who reaches the proxy in front can forge events: no credentials are set.")
    for words in ("AURORA_BRIDGE_AUTH__TOKENS_FILE", "AURORA_BRIDGE_AUTH__ALLOW_ANONYMOUS=true"):
        assert words in warning


def test_so_is_one_route_without_credentials_beside_others_that_have_some(tokens: Path) -> None:
    route = QUIET | {"tokens_file": tokens}
    assert len(routing(route, ingress=PUBLIC).warnings) == 1
    assert routing(route, ingress=PUBLIC, default_route=False).warnings == []


@pytest.mark.parametrize("public_url", ["", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080"])
def test_without_a_proxy_there_is_nothing_to_warn_of(public_url: str) -> None:
    assert routing(QUIET, ingress={"public_url": public_url}).warnings == []


def test_nor_where_credentials_are_set_or_anonymous_deliveries_were_asked_for(tokens: Path) -> None:
    for auth in ({"tokens_file": tokens}, {"basic_file": tokens}, {"allow_anonymous": True}):
        if "basic_file" in auth:
            tokens.write_text("user:word\n")
        assert routing(ingress=PUBLIC, auth=auth).warnings == []


def test_settings_of_an_unknown_event_are_a_warning() -> None:
    (warning,) = routing(events={"lead_creatd": {"volatile_attributes": ["x"]}}).warnings
    assert warning.startswith("[events.lead_creatd]: the bridge knows no event 'lead_creatd'")
    assert warning.endswith("Did you mean lead_created?")


# What comes out


def test_a_route_gives_its_deliveries_event_tenant_and_name() -> None:
    found = routing({**QUIET, "template": f"https://h.example{TEMPLATE}&kind=a&token=canary", "tenant": "acme"})
    match = found.routes.match(Delivery("GET", b"/hooks/p?a=1&st=signed&kind=a", (), 0, 0.0))
    assert (match.event, match.route.tenant, match.route.name) == (AGREEMENT, "acme", "/hooks/<PROJECT_ID>?kind=a")
    assert routing(QUIET, tenant="ours").routes.match(Delivery("GET", b"/hooks/p", (), 0, 0.0)).route.tenant == "ours"


def test_a_legacy_name_in_a_route_or_in_events_is_todays_event() -> None:
    route = {"event": "planSetStatusChanged", "template": "/x?p=<PLAN_SET_REQUEST_ID>&s=<STATUS>"}
    event = read("/x?p=1&s=draft", route, events={"plan_set_status_changed": {"recurrence": "signal"}})
    assert (event.name, event.recurrence) == ("plan_set_request_status_changed", Recurrence.SIGNAL)


def test_a_filtered_route_has_a_window_of_a_minute_unless_the_event_has_its_own() -> None:
    filtered = {**QUIET, "filtered": True}
    target = "/hooks/p?a=1&st=signed"
    assert read(target, filtered).repeat_window_us == 60_000_000
    assert read(target, QUIET, index={"repeat_window_seconds": 7}).repeat_window_us == 7_000_000
    assert read(target, filtered, events={AGREEMENT: {"repeat_window_seconds": 5}}).repeat_window_us == 5_000_000


def test_an_identifier_given_to_an_unknown_event_makes_it_a_state_of_that_thing() -> None:
    known = {"recurrence": "state", "identifier": "roof_id", "state_attribute": "colour"}
    event = read("/roof_painted?roof_id=1&colour=red", events={"roof_painted": known})
    assert (event.name, event.recurrence, event.subject) == ("unrecognized", Recurrence.STATE, "roof/1")
    assert event.family_key is not None
    other = read("/tower_painted?roof_id=1&colour=red", events={"tower_painted": known})
    assert event.family_key != other.family_key


def test_volatile_attributes_stay_in_the_event_and_out_of_its_fingerprint() -> None:
    known = {AGREEMENT: {"volatile_attributes": ["viewed_at"]}}
    one, other = (read(f"/{AGREEMENT}?agreement_id=1&status=sent&viewed_at={at}", events=known) for at in (1, 2))
    assert (one.fingerprint, one.family_key) == (other.fingerprint, other.family_key)
    assert (one.data["viewed_at"], other.data["viewed_at"]) == ("1", "2")


def test_routes_that_are_read_alike_share_their_rules() -> None:
    texts = ("/a", "/b", "/c?st=<SESSION_TOKEN>")
    found = routing(*({**QUIET, "template": text} for text in texts)).routes
    one, two, three = (found.match(Delivery("GET", text[:2].encode(), (), 0, 0.0)).route.rules for text in texts)
    assert one is two
    assert ["st" in rules.secrets for rules in (one, three)] == [False, True]


def test_a_parameter_that_carries_a_token_anywhere_is_a_secret_everywhere(tokens: Path) -> None:
    """A template with a token in it may be pasted into another subscription by mistake."""
    with_key = {**QUIET, "tokens_file": tokens, "query_parameter": "acmeKey"}
    for name in ("acmeKey", "acme_key", "_acmeKey", "amp;acmekey"):
        assert read(f"/lead_changed?lead_id=1&{name}=canary", with_key).data == {"lead_id": "1"}


def test_so_is_another_spelling_of_the_parameter_with_the_token(tokens: Path) -> None:
    auth = {"tokens_file": tokens, "query_parameter": "key"}
    assert read("/lead_changed?lead_id=1&_key=canary&key=one", auth=auth).data == {"lead_id": "1"}


def test_so_is_the_header_of_each_route(tokens: Path) -> None:
    """People copy a header's name and value into the query."""
    route = {**QUIET, "tokens_file": tokens, "header": "X-Acme-Key"}
    target = "/lead_changed?lead_id=1&x_acme_key=canary&X-Common=canary&note=X-Acme-Key:+canary"
    assert read(target, route, auth={"header": "X-Common"}).data == {"lead_id": "1", "note": "X-Acme-Key: ***"}


@pytest.mark.proves("Where each secret lives: Aurora's session_token")
@pytest.mark.parametrize("named", [["door_code"], ["door_code", "session_token"]])
def test_auroras_session_token_is_a_secret_also_where_others_alone_are_named(named: list[str]) -> None:
    ingress = {"ingress": {"secret_parameters": named}}
    assert read("/lead_changed?lead_id=1&doorCode=canary&sessionToken=canary", **ingress).data == {"lead_id": "1"}
    assert "canary" not in shown_template(
        RouteSettings(event="lead_changed", template="/x?session_token=canary&door_code=canary&id=<LEAD_ID>"),
        Settings.model_validate(ingress),
    )


def test_routes_that_name_one_file_share_it(tokens: Path) -> None:
    metrics = Metrics()
    files = SecretFiles(metrics)
    named = {**QUIET, "tokens_file": tokens}
    settings = Settings.model_validate({"routes": [named, named | {"template": "/b"}], "auth": {"tokens_file": tokens}})
    make_routing(settings, files, metrics)
    tokens.write_text("two\n")
    asyncio.run(files.check())
    assert metrics.secret_file_reloads[str(tokens)] == 1


@pytest.mark.proves("Where each secret lives: A token in a route's template is hidden wherever the template is shown")
def test_the_token_of_a_route_is_hidden_in_what_is_shown_of_it(tokens: Path) -> None:
    route = {"event": AGREEMENT, "template": "/x?key=canary&y=<Y>", "tokens_file": tokens, "query_parameter": "key"}
    settings = Settings.model_validate({"routes": [route]})
    assert shown_template(settings.routes[0], settings) == "/x?key=***&y=<Y>"


def test_settings_of_kafka_without_brokers_are_perhaps_not_meant() -> None:
    assert any("kafka.bootstrap_servers is not set" in line for line in routing(kafka={"partitions": 5}).warnings)
    assert not routing(kafka={}).warnings
