"""`python -m resexp` is `resexp`."""

from resexp.cli import main

main()
