"""Requests that nobody thought of, made of what the services say of themselves: ``make fuzz``."""
