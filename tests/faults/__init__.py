"""Faults, as a command (``make faults``), and drills that are tests (``make drills``)."""
