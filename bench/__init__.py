"""What a webhook costs: the daemon beside a bare aiohttp hello-world, measured in one run (`python -m bench`).

Absolute figures are those of one machine in one hour; what travels is the ratio. So both servers run at the same time,
get the same kind of webhooks from the same load generator in turns, and each round's ratio compares neighbours in time.
The figure that counts is CPU time of the server's process, which a busy machine disturbs less than it does throughput.

`__main__` has the options and the table, `runs` what is measured in which order, `servers` the processes, `load` the
load generator (a process of its own), `hello` the yardstick. `routes` measures in its own process what many routes
cost. Nothing here asserts a timing.
"""
