"""Many runs: in turn, in parallel, on a cluster."""
