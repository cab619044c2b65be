"""Benchmarks: every number is a ratio against a baseline of the same run, baseline and subject taking turns."""
