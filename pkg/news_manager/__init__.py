"""News: a feed for each reader, of what the people whom they follow save."""
