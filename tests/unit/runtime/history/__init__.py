"""A short history of migrations, for tests."""
