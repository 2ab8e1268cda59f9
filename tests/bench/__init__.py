"""Benchmarks: ratios between things measured alternately in one run, medians of several rounds."""
