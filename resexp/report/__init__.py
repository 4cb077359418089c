"""A study becomes figures, tables and one page."""
