"""One room a verb of the command line: its settings, and the task that does it."""
