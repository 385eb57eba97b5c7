"""What the stack costs a month: `make cost`. docs/performance.md has its tables."""
