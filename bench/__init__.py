"""What a webhook costs: the daemon's two builds beside a bare hello-world, another revision and hand-written peers.

Absolute figures are those of one machine in one hour; what travels is the ratio. So all servers run at the same time,
get the same kind of webhooks from the same load generator in turns, and each round's ratio compares neighbours in time.
The figure that counts is CPU time of the server's process, which a busy machine disturbs less than it does throughput.

`__main__` has the list of measurements, `runs` those under load, `tables` the figures as text, `targets` what they are
held against. `servers` has the processes: the daemon, the yardstick (`hello`); `revisions` the daemon of another
revision, `peers` what people would write otherwise. `load` is the load generator (a process of its own). Each other
module is one measurement. Nothing here asserts a timing.
"""
