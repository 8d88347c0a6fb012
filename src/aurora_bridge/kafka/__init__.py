"""Where events leave, and the only room that knows aiokafka.

`publisher` keeps deadlines and the order of a topic, `sender` brings records to their partitions by `lane`s, `wire`
holds the calls below aiokafka's producer, `drainer` empties the spool, `topics` creates the topics. `security` secures
the connections, `problems` says what is wrong with them.
"""
