"""Where events leave, and the only room that knows aiokafka.

`sender` brings records to their partitions by `lane`s, `wire` holds the calls below aiokafka's producer, `follower`
reads what others published, `topics` creates the topics. `security` secures the connections, `problems` says what is
wrong with them.
"""
