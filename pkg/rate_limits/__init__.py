"""How often somebody may do something: token buckets that all processes share."""
