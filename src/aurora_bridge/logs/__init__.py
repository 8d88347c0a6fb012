"""Logs to standard error, without secrets.

`formats` makes the lines, `libraries` replaces messages of libraries that quote their input, `quota` limits floods of
lines, `setup` installs them.
"""

from aurora_bridge.logs.formats import fields, origin
from aurora_bridge.logs.quota import Quota
from aurora_bridge.logs.setup import configure

__all__ = ["Quota", "configure", "fields", "origin"]
