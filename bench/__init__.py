"""Benchmarks, as ratios: an absolute figure says more about the machine than about the code."""
