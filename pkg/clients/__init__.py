"""One module a service: its client, which implements the same interface as the manager behind it."""
