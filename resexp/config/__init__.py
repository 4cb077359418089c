"""Settings: conf/ and a command line become checked values."""
