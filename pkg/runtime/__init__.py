"""What every service does once: settings, logs, metrics, traces, health, errors, caller authentication, shutdown."""
