"""What renewing costs: `make bench-renewal`. docs/benchmarks.md says what is measured and how."""
