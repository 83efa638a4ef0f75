"""What DICOMweb is made of and both services share."""
