"""Runs and weights become files that can be committed."""
