"""What a webhook costs: the daemon beside a bare hello-world, another revision and hand-written peers, in one run.

Absolute figures are those of one machine in one hour; what travels is the ratio. So all servers run at the same time,
get the same kind of webhooks from the same load generator in turns, and each round's ratio compares neighbours in time.
The figure that counts is CPU time of the server's process, which a busy machine disturbs less than it does throughput.

`__main__` has the options, `runs` what is measured in which order, `tables` the figures as text. `servers` has the
processes: the daemon, the yardstick (`hello`); `revisions` the daemon of another revision, `peers` what people would
write otherwise. `load` is the load generator (a process of its own). `index` measures an index that knows many
fingerprints, `following` how fast a replica learns, `routes` what many routes cost. Nothing here asserts a timing.
"""
