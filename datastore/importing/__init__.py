"""DICOM files to image sets. Runs in the process of an import.

scan (with deflated, uids) → importer → series (with grouping) → instance → metadata → values
    (with json_values, element_names)
report   the printed result
samples  the images of pydicom
"""
