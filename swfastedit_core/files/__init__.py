"""Volumes in files: .mha, .nii, .nii.gz and .nrrd are checked, read and written."""
