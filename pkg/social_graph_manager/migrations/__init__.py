"""The history of the social graph service's schema."""
