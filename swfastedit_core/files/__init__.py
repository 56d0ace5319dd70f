"""Volumes in files. `formats` lists the formats; each has a module that checks what ITK does not.

`read` and `write` use ITK for the voxels. A new format is a module like `nrrd` and a line in `formats.FORMATS`.
"""
