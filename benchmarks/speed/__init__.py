"""What a cold start, a link and a token cost: `make bench`. docs/performance.md has its tables."""
