"""Softcopy presentation states, grayscale and colour, applied to the images that they refer to (PS3.4 Section N.2).

references (to which images) → state (parse, for one frame) → present: transformation (grey) → placement (area,
    rotation, flip) → shutter → graphics and lettering, layer by layer

The attributes of a state replace those of the image. An attribute that a state lacks is an identity, whatever the image
has.
"""
