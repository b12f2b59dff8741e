"""The API gateway: the public REST API, its documentation, and who is let in."""
