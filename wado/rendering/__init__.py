"""Rendering: pixels and data sets in, pictures and documents out. Runs in the FrameFetcher processes.

It knows no cache, no AHI and no HTTP (`tests/test_imports.py`).

draw: functional_groups → display_attributes → grey | colour | segmentation → overlay → geometry → annotate → encode
objects: report → report_html | report_text; waveform → ecg_layout → vector_drawing; icon

parameters    how to draw, parsed from a query
presentation  presentation states
values        attributes of data sets that may be damaged
"""
