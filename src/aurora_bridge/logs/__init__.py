"""What the daemon says on standard error, and what it must never say.

`formats` makes the lines, `libraries` keeps other people's texts out, `quota` bounds a flood, `setup` puts all to work.
"""

from aurora_bridge.logs.formats import fields, origin
from aurora_bridge.logs.quota import Quota
from aurora_bridge.logs.setup import configure

__all__ = ["Quota", "configure", "fields", "origin"]
