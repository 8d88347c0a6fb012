"""Tells new events from known ones: rules, memory, index file, and `deduplicator`, which the bridge calls."""
