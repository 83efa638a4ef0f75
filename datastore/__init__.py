"""A self-hosted AHI data store: DICOM files → image sets, storage, the AHI wire protocol, the index filler."""
