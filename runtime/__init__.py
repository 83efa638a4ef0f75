"""Fairness, timing, outages, messages and shared memory, for AHI and DICOMweb alike. Runs in all processes."""
