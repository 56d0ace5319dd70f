"""Label values that look wrong."""

from __future__ import annotations

import pytest

from swfastedit_core.train.data.findings import Finding
from swfastedit_core.train.data.label_values import doubts_about_label, remark_rare_values


@pytest.mark.parametrize(
    ("values", "share", "doubts"),
    [
        ((), 0.0, []),
        ((1,), 0.5, []),
        (tuple(range(1, 20)), 0.1, []),  # and 0: twenty values
        (
            tuple(range(-1, 0)) + tuple(range(1, 20)),
            0.1,
            ["21 different values in the label, from -1 to 19; is it an image, or are the lesions numbered?"],
        ),
        (
            tuple(range(1, 21)),
            0.1,
            ["21 different values in the label, from 0 to 20; is it an image, or are the lesions numbered?"],
        ),
        (
            (1,),
            0.63,
            ["the lesions of the label cover 63 % of the volume; is the label inverted, or does it outline the body?"],
        ),
    ],
)
def test_many_values_and_large_lesions_are_doubtful(values, share, doubts):
    assert doubts_about_label(values, lesion_share=share) == doubts


def remarks(*labels, group="images:x", **more):
    """Return the remarks about cases a, b, … with these values."""
    cases = [
        Finding(name, group, name, label_values=values, **more)
        for name, values in zip("abcdefgh", labels, strict=False)
    ]
    return {finding.case: finding.remark for finding in remark_rare_values(cases) if finding.remark}


def test_value_that_no_other_case_has_is_named_with_its_case():
    assert remarks((1,), (255,), (1,), ()) == {"b": "the label has the value 255, which no other case has"}
    assert remarks((1,), (1, 2), (1,)) == {"b": "the label has the value 2, which no other case has"}
    assert remarks((1,), (2, 3), (1,)) == {
        "b": "the label has the value 2, which no other case has; and 1 more rare values"
    }
    assert remarks((1,), (2,), (1,), remark="odd") == {
        "a": "odd",
        "b": "odd; the label has the value 2, which no other case has",
        "c": "odd",
    }


def test_few_cases_of_many_are_named():
    cases = [Finding(f"{case:02d}", "g", "p", label_values=(2,) if case < 2 else (1,)) for case in range(41)]
    named = {finding.case: finding.remark for finding in remark_rare_values(cases) if finding.remark}
    assert named == dict.fromkeys(("00", "01"), "the label has the value 2, which 2 of 41 cases have")
    assert not any(finding.remark for finding in remark_rare_values(cases[:40]))  # 2 of 40: one in twenty


def test_usual_values_are_not():
    assert remarks((1,), (1,), ()) == {}
    assert remarks((1, 2), (1,), (2,), (1, 2)) == {}
    assert remarks((1,)) == {}  # nothing to compare with
    assert remarks((1, 2, 3), (1,), (1, 2, 3, 4, 5)) == {}  # lesions are numbered
    assert remarks((1,), (2,), problem="bad") == {}


def test_data_sets_are_not_compared_with_each_other():
    cases = [
        Finding(str(case), group, "p", label_values=(value,))
        for group, value in (("g", 1), ("h", 2))
        for case in (1, 2)
    ]
    assert remark_rare_values(cases) == cases
