"""Events between services: what they say, how they get from a transaction to NATS, and how they are consumed."""
