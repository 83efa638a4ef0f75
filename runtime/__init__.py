"""Waiting, timing, outages, messages and shared memory: neither AHI nor DICOMweb. Runs in all processes."""
