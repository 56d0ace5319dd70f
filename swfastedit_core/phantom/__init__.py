"""Synthetic whole-body FDG-PET with known lesions.

>>> from swfastedit_core.phantom import make_phantom
>>> phantom = make_phantom(7)
>>> phantom.pet.array_zyx.shape == phantom.label.array_zyx.shape
True
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swfastedit_core.lazy import imported_on_use

if TYPE_CHECKING:
    from swfastedit_core.phantom.lesions import Lesion
    from swfastedit_core.phantom.patient import Patient, field_of_view, sample_patient
    from swfastedit_core.phantom.scanner import Scanner
    from swfastedit_core.phantom.simulate import Phantom, make_phantom

__all__ = ["Lesion", "Patient", "Phantom", "Scanner", "field_of_view", "make_phantom", "sample_patient"]

_MODULES = {
    "Lesion": "lesions",
    "Patient": "patient",
    "field_of_view": "patient",
    "sample_patient": "patient",
    "Scanner": "scanner",
    "Phantom": "simulate",
    "make_phantom": "simulate",
}
__getattr__ = imported_on_use(__name__, _MODULES)
