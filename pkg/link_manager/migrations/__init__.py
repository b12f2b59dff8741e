"""The history of the link service's schema."""
