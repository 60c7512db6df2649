"""Reader for ACDC (Bernard et al., IEEE TMI 37(11):2514-2525, 2018, doi 10.1109/TMI.2018.2837502).

``patientNNN/patientNNN_frameTT.nii.gz`` + ``_gt.nii.gz`` + ``Info.cfg``. Arrays are (x, y, slice); the
affine is the identity, so the spacing is taken from the header's zooms.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from numpy.typing import NDArray

from lvedge.errors import DataError
from lvedge.training.data.sample import MAP_LABELS, Sample

NAME = "acdc"
SCALE = np.uint8(255)


def acdc_subjects(root: Path) -> dict[str, str]:
    """Subject to diagnosis group (NOR, MINF, DCM, HCM, RV), sorted by name."""
    folders = sorted(p for p in (root / NAME).glob("patient*") if p.is_dir())
    if not folders:
        raise DataError(f"no patient folders in {root / NAME}")
    return {folder.name: read_info(folder)["Group"] for folder in folders}


def read_info(folder: Path) -> dict[str, str]:
    """The subject's ``Info.cfg`` as text by key.

    Raises:
        DataError: if it is missing or does not say ED, ES and the group.
    """
    path = folder / "Info.cfg"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as err:
        raise DataError(f"no {path}: name the folder that holds {NAME}/ with --data") from err
    info = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines if ":" in line)
    }
    if not (info.get("ED", "").isdigit() and info.get("ES", "").isdigit() and "Group" in info):
        raise DataError(f"{path} does not say ED, ES and Group")
    return info


def read_acdc(root: Path, subject: str) -> Iterator[Sample]:
    """Every slice of a subject at ED and ES, with and without LV.

    Raises:
        DataError: if a file is missing or damaged, or a picture and its labels do not fit together.
    """
    folder = root / NAME / subject
    info = read_info(folder)
    for phase in ("ED", "ES"):
        number = int(info[phase])
        stem = folder / f"{subject}_frame{number:02d}"
        pixels, zooms = _volume(Path(f"{stem}.nii.gz"))
        labels, _ = _volume(Path(f"{stem}_gt.nii.gz"))
        if pixels.shape != labels.shape:
            raise DataError(f"{stem}: picture {pixels.shape} and labels {labels.shape} differ in shape")
        for k in range(pixels.shape[2]):
            drawn = labels[:, :, k].T
            yield Sample(
                source=NAME,
                subject=subject,
                slice_index=k,
                slice_count=pixels.shape[2],
                frame_index=number - 1,
                pixels=np.ascontiguousarray(pixels[:, :, k].T).astype(np.uint8),
                maps=np.stack([(drawn == label).astype(np.uint8) * SCALE for label in MAP_LABELS], axis=-1),
                spacing_mm=(float(zooms[1]), float(zooms[0])),
                has_spacing=True,
                has_rv=True,
                phase=phase,
                group=info["Group"],
                slice_mm=float(zooms[2]),
            )


def _volume(path: Path) -> tuple[NDArray[Any], tuple[float, ...]]:
    """Voxels (x, y, slice) and their sizes."""
    try:
        image: Any = nib.load(str(path))
        return np.asarray(image.dataobj), image.header.get_zooms()
    except (OSError, EOFError, ValueError, zlib.error, ImageFileError) as err:
        raise DataError(f"{path} cannot be read as NIfTI: {type(err).__name__}") from err
