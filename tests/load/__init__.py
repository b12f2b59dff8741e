"""Benchmarks: commands that print figures and ratios, and assert nothing."""
