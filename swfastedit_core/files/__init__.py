"""Volumes in files.

`formats` lists the formats. Each has a module that reads its header into an `ImageHeader`; `voxels` reads the voxels of
all formats. NIfTI is written here, MetaImage and NRRD by ITK. A new format is a module like `nrrd` and a line in
`formats.FORMATS`.
"""
