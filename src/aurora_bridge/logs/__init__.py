"""What the daemon says on standard error, and what it must never say.

`formats` makes the lines, `redaction` takes secrets out of request targets, `libraries` keeps other people's texts out,
`quota` bounds a flood, `setup` puts all to work.
"""

from aurora_bridge.logs.formats import fields, origin
from aurora_bridge.logs.quota import Quota
from aurora_bridge.logs.redaction import redact_path, redact_target, redact_value
from aurora_bridge.logs.setup import configure

__all__ = ["Quota", "configure", "fields", "origin", "redact_path", "redact_target", "redact_value"]
