"""The user service: users, sessions and tokens, over REST."""
