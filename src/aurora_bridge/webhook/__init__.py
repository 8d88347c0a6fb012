"""The pure domain: what a webhook is and what becomes of it, without I/O and without a clock of its own.

A `delivery` is matched by the `routes`, checked against their `credentials`, looked up in the `catalogue` and made into
an `event`; `recurrence` then tells the same event from a new one, and `backlog` keeps the order of a topic.
"""
