"""The pixel data of a DICOM file to stored frames. Runs in the process of an import.

frames → pixel_data → layout, native, encapsulated → decoders → codecs
"""
