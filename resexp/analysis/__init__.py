"""Runs become networks and seeds, intervals, a verdict, claims."""
