"""Data sets, and what each iteration sees of them."""
