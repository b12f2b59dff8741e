"""Users: who they are, their sessions and their tokens."""
