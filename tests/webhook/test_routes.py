"""Which route a target means: the default one, those written by template, and what lies outside of all."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurora_bridge.outcomes import Reason, Refusal
from aurora_bridge.redaction import SecretNames
from aurora_bridge.webhook.catalogue import CATALOGUE, LEGACY_NAMES
from aurora_bridge.webhook.credentials import Anonymous, Credentials, Secrets
from aurora_bridge.webhook.delivery import Delivery
from aurora_bridge.webhook.route_rules import Rules
from aurora_bridge.webhook.routes import Match, Route, Routes, conflicts, split_target
from aurora_bridge.webhook.url_template import Template

DEFAULT = Route("default", "acme", Anonymous(), Rules(SecretNames(["token"]), 86_400_000_000))


def get(target: bytes, method: str = "GET") -> Delivery:
    return Delivery(method, target, (), 0, 0.0)


def match(target: bytes, base_path: str = "/") -> Match:
    return Routes(base_path, DEFAULT).match(get(target))


def reason_of(target: bytes, base_path: str = "/", method: str = "GET") -> Reason:
    with pytest.raises(Refusal) as caught:
        Routes(base_path, DEFAULT).match(get(target, method))
    assert not caught.value.doubtful
    return caught.value.reason


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_path_names_the_event(name: str) -> None:
    assert match(f"/{name}?project_id=1".encode()) == Match(DEFAULT, name, b"project_id=1")


@pytest.mark.parametrize("name", CATALOGUE)
def test_so_does_the_discriminator(name: str) -> None:
    query = f"project_id=1&aurora_event={name}".encode()
    assert match(b"/?" + query) == Match(DEFAULT, name, query)


@pytest.mark.parametrize("legacy", LEGACY_NAMES)
def test_a_legacy_name_leads_to_todays_event(legacy: str) -> None:
    targets = (f"/{legacy}?a=1", f"/?aurora_event={legacy}", f"/{legacy.upper()}", f"/{legacy.replace('_', '-')}/")
    assert [LEGACY_NAMES[legacy]] * 4 == [match(target.encode()).event for target in targets]


@pytest.mark.parametrize(
    "target",
    [
        b"/agreement_status_changed/?a=1",
        b"/agreement_status_changed",
        b"/agreementStatusChanged",
        b"/Agreement-Status-Changed",
        b"/AGREEMENT_STATUS_CHANGED",
        b"/agreement%5Fstatus%5Fchanged",
        b"http://bridge.example/agreement_status_changed?a=1",
        b"HTTPS://user:word@bridge.example:8443/agreement_status_changed?a=1",
        b"/?aurora_event=agreement_status_changed",
        b"?aurora_event=agreement_status_changed",
        b"http://bridge.example?aurora_event=agreement_status_changed",
        b"/?aurora_event=agreementStatusChanged&a=1",
        b"/agreement_status_changed?aurora_event=agreement_status_changed",
        b"/agreement_status_changed?aurora_event=",
        b"//agreement_status_changed?a=1",
        b"///agreement_status_changed///?a=//",
        b"http://bridge.example//agreement_status_changed",
        b"//?aurora_event=agreement_status_changed",
        b"/agreement_status_changed?myaurora_event=lead_changed",
    ],
)
def test_the_event_is_found_in_every_form_of_the_target(target: bytes) -> None:
    found = match(target)
    assert (found.event, found.contradicted) == ("agreement_status_changed", False)


@pytest.mark.parametrize(
    ("target", "event"),
    [
        (b"/roof_painted", "roof_painted"),
        (b"/roofPainted?x=1", "roof_painted"),
        (b"/?aurora_event=roof-painted", "roof_painted"),
        (b"/42", "42"),
        (b"/dead_letter", "dead_letter"),
    ],
)
def test_an_unknown_name_is_a_match_too(target: bytes, event: str) -> None:
    assert event == match(target).event


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"/",
        b"*",
        b"/?project_id=1",
        b"/?aurora_event=",
        b"/?aurora_event=a.b",
        b"/a/b",
        b"/lead_changed//x",
        b"/%2Flead_changed",
        b"/lead.changed",
        b"/lead%20changed",
        b"/lead%2Fchanged",
        b"/../lead_changed",
        b"/caf%C3%A9",
        b"/\xff",
        b"lead_changed?lead_id=1",
        b"http://bridge.example",
        b"://lead_changed",
        b"/-/healthy",
    ],
)
def test_what_is_no_single_segment_of_an_events_characters_is_outside_every_route(target: bytes) -> None:
    assert Reason.NO_ROUTE is reason_of(target)


@pytest.mark.parametrize("base_path", ["/hooks/aurora", "/hooks/aurora/"])
def test_below_a_base_path_the_same_holds_and_nothing_holds_outside(base_path: str) -> None:
    inside = [
        b"/hooks/aurora/lead_changed",
        b"/hooks/aurora?aurora_event=lead_changed",
        b"//hooks//aurora//lead_changed",
    ]
    assert [match(target, base_path).event for target in inside] == ["lead_changed"] * 3
    for target in (b"/lead_changed", b"/hooks/auroralead_changed", b"/hooks/aurora", b"/hooks/lead_changed"):
        assert Reason.NO_ROUTE is reason_of(target, base_path)


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "OPTIONS", "get"])
def test_another_method_is_not_allowed_on_a_route_and_not_found_outside(method: str) -> None:
    assert Reason.METHOD_NOT_ALLOWED is reason_of(b"/lead_changed", method=method)
    assert Reason.NO_ROUTE is reason_of(b"/a/b", method=method)


def test_extra_parameters_never_unchoose_the_route() -> None:
    assert match(b"/lead_changed?%ff=%00&aurora_event").event == "lead_changed"


def test_path_and_discriminator_that_disagree_contradict_each_other() -> None:
    assert match(b"/lead_changed?aurora_event=lead_created&lead_id=1").contradicted


def test_path_and_discriminator_agree_when_both_mean_the_same_event() -> None:
    assert not match(b"/plan_set_status_changed?aurora_event=planSetRequestStatusChanged").contradicted


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        (b"/a?b=c", (b"/a", b"b=c")),
        (b"/a", (b"/a", b"")),
        (b"/a?b?c", (b"/a", b"b?c")),
        (b"/http://x?b", (b"/http://x", b"b")),
        (b"http://h:1/a?b", (b"/a", b"b")),
        (b"http://h?b=http://i/c", (b"", b"b=http://i/c")),
        (b"", (b"", b"")),
    ],
)
def test_a_target_splits_into_path_and_query(target: bytes, parts: tuple[bytes, bytes]) -> None:
    assert parts == split_target(target)


@given(st.binary(max_size=80), st.sampled_from(["GET", "POST", ""]), st.sampled_from(["/", "/hooks"]))
def test_any_target_is_matched_or_refused(target: bytes, method: str, base_path: str) -> None:
    outcome: Reason | Route
    try:
        outcome = Routes(base_path, DEFAULT).match(get(target, method)).route
    except Refusal as refusal:
        outcome = refusal.reason
    assert outcome in {Reason.NO_ROUTE, Reason.METHOD_NOT_ALLOWED} or outcome is DEFAULT


# Routes written by template


def written(text: str, event: str = "lead_created") -> Route:
    template = Template(text, SecretNames(["token"]))
    return Route(template.name, "acme", Anonymous(), DEFAULT.rules, template, event)


def test_a_written_route_goes_before_the_default_one_and_leaves_it_the_rest() -> None:
    route = written("/lead_changed?kind=mine&lead_id=<LEAD_ID>")
    routes = Routes("/", DEFAULT, [route])
    mine = routes.match(get(b"/lead_changed?kind=mine&lead_id=1"))
    other = routes.match(get(b"/lead_changed?kind=other&lead_id=1"))
    assert (mine.route, mine.event) == (route, "lead_created")
    assert (other.route, other.event) == (DEFAULT, "lead_changed")


@pytest.mark.parametrize("target", [b"/lead_changed?lead_id=1", b"/leadChanged?lead_id=1", b"/lead%5Fchanged"])
def test_a_placeholder_for_the_whole_path_takes_the_default_routes_paths_too(target: bytes) -> None:
    route = written("/<LEAD_ID>")
    assert Routes("/", DEFAULT, [route]).match(get(target)).route is route


def test_a_template_holds_the_whole_path_and_the_base_path_is_the_default_routes_alone() -> None:
    routes = Routes("/base", DEFAULT, [written("/hooks/<LEAD_ID>"), written("/base/v2/<LEAD_ID>", "lead_changed")])
    found = [routes.match(get(target)).event for target in (b"/hooks/1", b"/base/v2/1", b"/base/lead_converted")]
    assert found == ["lead_created", "lead_changed", "lead_converted"]
    with pytest.raises(Refusal):
        routes.match(get(b"/base/hooks/1"))


def test_without_a_default_route_its_paths_are_outside() -> None:
    routes = Routes("/", None, [written("/hooks")])
    assert routes.match(get(b"/hooks")).event == "lead_created"
    for target in (b"/lead_changed?lead_id=1", b"/?aurora_event=lead_changed", b"/"):
        with pytest.raises(Refusal) as caught:
            routes.match(get(target))
        assert caught.value.reason is Reason.NO_ROUTE


def test_a_discriminator_can_be_a_templates_static_parameter() -> None:
    routes = Routes("/", None, [written(f"/?aurora_event={name}&id=<LEAD_ID>", name) for name in CATALOGUE])
    for name in CATALOGUE:
        assert routes.match(get(f"/?id=1&aurora_event={name}".encode())).event == name


def test_a_written_route_is_outside_before_it_is_not_allowed_and_not_allowed_before_it_is_unauthorized() -> None:
    tokens = Secrets("tokens", ("header", "query"), {})
    tokens.replace([b"valid"])
    template = Template("/hooks", SecretNames(()))
    route = Route("/hooks", "acme", Credentials("X-Token", tokens), DEFAULT.rules, template, "lead_created")
    routes = Routes("/", None, [route])

    def deliver(target: bytes, method: str) -> None:
        delivery = get(target, method)
        routes.match(delivery).route.credentials.admit(delivery)

    def refused(target: bytes, method: str) -> Reason:
        with pytest.raises(Refusal) as caught:
            deliver(target, method)
        return caught.value.reason

    assert refused(b"/hook", "POST") is Reason.NO_ROUTE
    assert refused(b"/hooks", "POST") is Reason.METHOD_NOT_ALLOWED
    assert refused(b"/hooks", "GET") is Reason.UNAUTHORIZED


def test_a_valid_credential_is_known_whichever_route_it_is_for_and_wherever_it_goes() -> None:
    tokens = [Secrets("tokens", ("header",), {}) for _ in range(2)]
    for secrets, token in zip(tokens, (b"one", b"two"), strict=True):
        secrets.replace([token])
    credentials = [Credentials("X-Token", secrets) for secrets in tokens]
    routes = [
        Route(path, "acme", taken, DEFAULT.rules, Template(path, SecretNames(())), "lead_created")
        for path, taken in zip(("/a", "/b"), credentials, strict=True)
    ]
    for compiled in (Routes("/", None, routes), Routes("/", routes[0], routes[1:])):
        known = {
            token: compiled.recognizes(replace(get(b"/nowhere"), headers=((b"x-token", token),)))
            for token in (b"one", b"two", b"three")
        }
        assert known == {b"one": True, b"two": True, b"three": False}
    assert not Routes("/", None).recognizes(get(b"/nowhere"))


def test_many_routes_at_one_path_are_told_apart_by_any_of_their_static_parameters() -> None:
    texts = [f"/x?a={one}&b={other}" for one in "123" for other in "123"] + ["/x?a=4&c=1", "/x?a=4&c=2", "/x?a=5"]
    routes = [written(text) for text in texts]
    assert list(conflicts(routes)) == []
    compiled = Routes("/", None, routes)
    for text, route in zip(texts, routes, strict=True):
        assert compiled.match(get(text.encode())).route is route
    for target in (b"/x", b"/x?a=1", b"/x?a=1&b=4", b"/x?a=4", b"/x?b=1", b"/x?a=6&b=1"):
        with pytest.raises(Refusal):
            compiled.match(get(target))


def test_static_parameters_that_not_all_have_tell_apart_too() -> None:
    texts = ["/x?a=1&b=1", "/x?b=2&c=1", "/x?a=2&c=2"]
    routes = [written(text) for text in texts]
    assert list(conflicts(routes)) == []
    compiled = Routes("/", None, routes)
    assert [compiled.match(get(text.encode())).route for text in texts] == routes


def test_conflicts_name_every_pair() -> None:
    one, two, three = (written(text) for text in ("/a/<X>", "/<X>/b", "/c/d"))
    assert list(conflicts([one, two, three])) == [(one, two)]


# What lies outside of all routes, and is Aurora's all the same

WRITTEN = Route(
    "hook", "acme", Anonymous(), DEFAULT.rules, Template("/hook?kind=a&p=<PROJECT_ID>", SecretNames(())), "x"
)


@pytest.mark.parametrize(
    "target",
    [
        b"/elsewhere/lead_created?lead_id=1",
        b"/lead_created/",
        b"/lead_created/7",
        b"/a/Lead-Created",
        b"/a/b/" + next(iter(LEGACY_NAMES)).encode(),
        b"http://bridge.example/a/lead_created",
        b"/lead_created%3Flead_id=7",
        b"/a/lead_created;lead_id=7",
        b"/elsewhere/?aurora_event=lead_created",
        b"/hook?kind=b&p=1",
    ],
)
def test_the_path_of_a_known_event_or_of_a_route_is_auroras_wherever_it_is(target: bytes) -> None:
    assert Routes("/base", DEFAULT, [WRITTEN]).is_known_path(target)


@pytest.mark.parametrize(
    ("target", "event"),
    [
        (b"/elsewhere/lead_created?lead_id=1", "lead_created"),
        (b"/elsewhere/?aurora_event=lead_created", "lead_created"),
        (b"/a/" + next(iter(LEGACY_NAMES)).encode(), next(iter(LEGACY_NAMES.values()))),
        (b"/hook?kind=b&p=1", ""),
        (b"/wp-login.php", ""),
        (b"/x?aurora_event=y", ""),
    ],
)
def test_a_target_without_a_route_names_an_event_of_the_catalogue_or_none(target: bytes, event: str) -> None:
    assert Routes("/base", DEFAULT, [WRITTEN]).known_event(target) == event


@pytest.mark.proves("An attacker cannot: turn the status page amber by scanning")
@pytest.mark.parametrize(
    "target",
    [
        *(b"/", b"", b"*", b"/wp-login.php", b"/.env", b"/admin", b"/lead", b"/lead_created.php", b"/hook/x"),
        *(b"/x?path=/lead_created", b"/x?lead_created", b"/x?aurora_event=y", b"/%ff", b"lead_created:443/"),
        *(b"/" * 5000 + b"lead_created", b"/" + b"%41" * 5000),
    ],
    ids=lambda target: target[:30].decode(),
)
def test_no_other_path_is(target: bytes) -> None:
    assert not Routes("/base", DEFAULT, [WRITTEN]).is_known_path(target)
