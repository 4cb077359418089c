"""Runs become files that can be committed."""
