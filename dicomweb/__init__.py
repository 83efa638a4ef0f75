"""What DICOMweb is made of: media types, data sets, UIDs, errors and answers. Runs in all processes."""
