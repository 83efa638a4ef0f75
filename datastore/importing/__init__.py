"""DICOM files to image sets: scan, group, convert. Runs in the process of an import."""
