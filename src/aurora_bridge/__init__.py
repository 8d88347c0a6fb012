"""aurora-bridge: takes every webhook of Aurora Solar and publishes it to Kafka, durably and once."""
