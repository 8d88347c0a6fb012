"""Where events are kept: two SQLite files in the state directory, each with one thread that reads and writes it.

`directory` guards the state directory, `database` opens a file of it, `worker` is a file's thread; `spool` is the
durable queue, `index` what was seen.
"""
