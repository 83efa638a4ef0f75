"""Softcopy presentation states, grayscale and colour, applied to the images they refer to (PS3.4 Section N.2).

references (which images) → state (parse, for one frame) → transformation (grey) → placement (area, rotation, flip)
    → shutter → graphics (layer by layer) = present

What a state says takes the place of what the image says; what it leaves out is an identity, whatever the image says.
"""
