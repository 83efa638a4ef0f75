"""A self-hosted AHI data store: DICOM files → image sets, storage, the AHI wire protocol, the index filler.

Runs in processes of its own; the proxy reaches it over HTTP only.
"""
