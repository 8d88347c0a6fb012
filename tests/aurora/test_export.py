"""An export says as little as it can: what the route supplies is left to the route."""

import tomllib
from pathlib import Path

from tests.aurora.in_memory import TOKENS, Aurora, Bridge

SUNNY = """
[[routes]]
template = "/sunny?id=<LEAD_ID>&key=HERE"
event = "lead_created"
query_parameter = "key"
tenant = "sunny"
"""
HEADER = {"header_auth_key": "X-Aurora-Webhook-Token", "header_auth_value": "canary"}


def test_what_the_route_supplies_is_left_to_the_route(tmp_path: Path) -> None:
    host = "https://hooks.example.com"
    aurora = Aurora(
        {"event": "lead_created", "url_template": f"{host}/lead_created?lead_id=<LEAD_ID>", **HEADER},
        {"event": "lead_created", "url_template": f"{host}/sunny?id=<LEAD_ID>&key=canary-new"},
        {"event": "lead_created", "url_template": f"{host}/other?id=<LEAD_ID>", **HEADER, "header_auth_key": "X-A"},
    )
    *tables, left_out = tomllib.loads(Bridge(tmp_path, TOKENS + SUNNY).export(aurora))["subscriptions"]
    assert [table.keys() for table in tables] == [
        {"id", "events"},
        {"id", "events", "route"},
        {"id", "events", "url_template", "authentication", "header"},
    ]
    assert tables[1]["route"] == "/sunny"
    assert left_out["left_out"]
    assert len(left_out["events"]) == 18
