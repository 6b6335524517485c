"""What this machine needs for the work of the package, beside a naive way to the same result."""
