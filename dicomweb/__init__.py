"""The parts of DICOMweb: media types, negotiation, data sets, UIDs, errors and answers. Runs in all processes."""
