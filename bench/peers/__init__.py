"""What people would otherwise write: one endpoint each, the answer after Kafka's acknowledgement from all replicas.

Every peer compares the token in constant time, makes JSON of the query's attributes, takes the first identifier among
them as the key, and sends the record to the topic of its event. None recognises duplicates, keeps anything while Kafka
is away, or has metrics: each does less than aurora-bridge, so a figure near theirs is a good one.

`PORT`, `BOOTSTRAP`, `TOPIC_PREFIX` and `TOKEN` are in their environment. `catalogue` has the list, and what they need.
"""
