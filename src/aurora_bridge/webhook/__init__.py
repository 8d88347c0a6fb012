"""The pure domain: what a webhook is, without I/O and without a clock of its own.

A `delivery` is matched by `routes`, checked against their `credentials`, looked up in the `catalogue`, and turned into
an `event`.
"""
