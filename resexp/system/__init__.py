"""Files, locks, signals, logs, and the machine."""
