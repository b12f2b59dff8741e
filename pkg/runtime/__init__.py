"""What every service does once: settings, logs, metrics, traces, health, errors, callers, shutdown."""
