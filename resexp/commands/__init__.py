"""One module for each verb of the command line: its settings, and the task that does it."""
