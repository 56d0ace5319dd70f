"""The figures of lesions and of the patient, as functions of arrays."""
