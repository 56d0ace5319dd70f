"""Compare masks with the expected ones: ``python test/compare_masks.py EXPECTED OUTPUT``, both folders."""

from __future__ import annotations

import sys
from pathlib import Path

import SimpleITK as sitk

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from swfastedit_core.metrics.overlap import agreement_dice

MIN_DICE = 0.999


def faults(expected: Path, found: Path) -> list[str]:
    """List what is wrong with the masks in `found`, in words; empty if they are as expected."""
    wanted = {path.relative_to(expected) for path in expected.rglob("*.mha")}
    written = {path.relative_to(found) for path in found.rglob("*") if path.is_file()}
    if not wanted:
        return [f"{expected}: holds no mask to compare with"]
    lines = [f"{name}: missing" for name in sorted(wanted - written)]
    lines += [f"{name}: not expected" for name in sorted(written - wanted)]
    for name in sorted(wanted & written):
        a, b = sitk.ReadImage(str(expected / name)), sitk.ReadImage(str(found / name))
        for what in ("Size", "Spacing", "Origin", "Direction", "PixelIDTypeAsString"):
            left, right = getattr(a, f"Get{what}")(), getattr(b, f"Get{what}")()
            if left != right:
                lines.append(f"{name}: {what.lower()} {right}, expected {left}")
        if a.GetSize() == b.GetSize():
            left, right = sitk.GetArrayFromImage(a), sitk.GetArrayFromImage(b)
            score = agreement_dice(left, right)
            print(f"{name}: Dice {score:.5f} against the expected mask")
            if not score >= MIN_DICE:
                lines.append(f"{name}: Dice {score:.5f}, expected at least {MIN_DICE}")
    return lines


if __name__ == "__main__":
    found = faults(Path(sys.argv[1]), Path(sys.argv[2]))
    print(*found, sep="\n", file=sys.stderr)
    sys.exit(bool(found))
