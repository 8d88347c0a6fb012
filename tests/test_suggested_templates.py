"""What to paste into Aurora: one template for each event, with a host and without secrets."""

from collections.abc import Mapping
from typing import Final

import pytest

from aurora_bridge.settings import Settings
from aurora_bridge.suggested_templates import to_paste

AGREEMENT: Final = "agreement_status_changed"
TEMPLATE: Final = "/hooks/<PROJECT_ID>?a=<AGREEMENT_ID>&st=<STATUS>"
ROUTE: Final = {"event": AGREEMENT, "template": TEMPLATE}


def paste(*routes: Mapping[str, object], **more: object) -> list[tuple[str, str]]:
    return [(one.event, one.url) for one in to_paste(Settings.model_validate({"routes": routes, **more}))]


@pytest.mark.proves("Where each secret lives: A token in a route's template is hidden wherever the template is shown")
@pytest.mark.parametrize(
    ("template", "url"),
    [
        (TEMPLATE, f"https://HOST{TEMPLATE}"),
        ("?x=<Y>", "https://HOST?x=<Y>"),
        ("https://h.example/x?token=canary&y=<Y>", "https://h.example/x?token=***&y=<Y>"),
        ("/x?next=https://h.example", "https://HOST/x?next=https://h.example"),
    ],
)
def test_a_written_template_is_pasted_as_it_stands_with_a_host_and_without_secrets(template: str, url: str) -> None:
    assert paste({**ROUTE, "template": template}, default_route=False) == [(AGREEMENT, url)]


def test_the_default_routes_templates_begin_with_the_public_url_and_the_base_path() -> None:
    found = paste(ROUTE, ingress={"public_url": "https://h.example/up/", "base_path": "/base"})
    assert found[0] == (AGREEMENT, f"https://h.example/up{TEMPLATE}")
    assert ("lead_changed", "https://h.example/up/base/lead_changed?lead_id=<LEAD_ID>") in found


def test_an_event_that_a_written_route_takes_is_left_out_of_the_default_routes_unless_the_tenant_is_another() -> None:
    assert [event for event, _ in paste(ROUTE)].count(AGREEMENT) == 1
    assert [event for event, _ in paste({**ROUTE, "tenant": "acme"})].count(AGREEMENT) == 2
