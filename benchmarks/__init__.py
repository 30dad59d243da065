"""Benchmarks: they drive the system from outside, as its users do, and measure it with the kernel's own numbers."""
