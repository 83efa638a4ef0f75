"""A self-hosted AHI data store. It runs in processes of its own; the proxy reaches it over HTTP only.

importing  DICOM files to image sets, in the process of an import
pixels     pixel data to stored frames, in the process of an import
index      image sets to rows of the metadata index, in the process of an import
storage    image sets on disk, in both processes
serving    the AHI protocol over HTTP, in the process of the data store
embedded   all of it below one folder, for `main.py`
findings   what was lost or changed in an import
"""
