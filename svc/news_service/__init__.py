"""The news service: what the people whom somebody follows save, over gRPC."""
