"""The samples that an empty embedded data store begins with. Runs in the process of an import.

curated    all of them, in a folder
ct         a CT of chest and abdomen: chest paints anatomy (with vessels and noise) into a section
documents  its report and a letter
slide      a slide of tissue
shipped    images that come with pydicom
objects    patients, studies and DICOM objects
"""
