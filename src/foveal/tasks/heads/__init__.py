"""Detectors: one paper, one file."""
