"""Where events leave: the only room that knows aiokafka.

`publisher` keeps deadlines and the order of a topic, `sender` brings records to their partitions, `wire` holds the calls
below aiokafka's producer, `drainer` empties the spool, `topics` creates and checks the topics.
"""
