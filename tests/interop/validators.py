"""What others say of our objects. Known faults of a validator are named, each with why it is one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset, dcmread

from tests.interop.programs import missing, program

_WHEELS = "make interop-install"
_PIXELMED = Path("/usr/share/java/pixelmed.jar")
#: Faults of PixelMed's validator, of 2022: (what it says, why it is wrong).
_PIXELMED_FAULTS = (
    # TID 1411's conditions are held against groups of TID 1501 and 1410 beside it, which say themselves what they are.
    re.compile(r"Template 14(10|11).*Missing (required|conditional) content item"),
    # CID 100 is extensible; its copy knows only LN 25045-6.
    re.compile(r"Procedure reported.*not found in .*context group"),
)


def dciodvfy(path: Path) -> list[str]:
    """Errors in one object against its IOD (PS3.3)."""
    command = [program("dciodvfy", _WHEELS), "-new", str(path)]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = [line for line in judged.stderr.splitlines() if line.startswith(("Error", "Abort"))]
    return found or ([f"exit status {judged.returncode}"] if judged.returncode else [])


def dcentvfy(paths: Sequence[Path]) -> list[str]:
    """What differs between the objects of one study that has to be the same."""
    command = [program("dcentvfy", _WHEELS), *map(str, paths)]
    judged = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    found = [line for line in (judged.stdout + judged.stderr).splitlines() if "Error" in line]
    # An RT Structure Set names its study by its UID (PS3.3 §C.8.8.5), which is no instance's.
    study = str(dcmread(paths[0], stop_before_pixels=True).StudyInstanceUID)
    return [line for line in found if f"Missing SOPInstanceUID that was referenced - {study} " not in line]


def dsrdump(path: Path) -> list[str]:
    """Why DCMTK cannot read a report; it holds the relationships of the IOD."""
    command = [program("dsrdump", "apt-get install dcmtk"), str(path)]
    judged = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    return [line for line in judged.stderr.splitlines() if line.startswith(("E:", "F:"))] + (
        [f"exit status {judged.returncode}"] if judged.returncode else []
    )


def pixelmed(path: Path) -> list[str]:
    """Errors of a report against its templates (PS3.16)."""
    java = program("java", "apt-get install default-jre-headless")
    if not _PIXELMED.is_file():
        missing(f"{_PIXELMED} is not there: apt-get install pixelmed-apps")
    limits = [f"-Djdk.xml.xpath{each}=0" for each in ("ExprGrpLimit", "ExprOpLimit", "TotalOpLimit")]
    command = [java, "-Xss64m", "-Xmx2g", *limits, "-cp", str(_PIXELMED), "com.pixelmed.validate.DicomSRValidator"]
    judged = subprocess.run([*command, str(path)], capture_output=True, text=True, errors="replace", timeout=300)
    lines = [line.strip() for line in (judged.stdout + judged.stderr).splitlines()]
    found = [line for line in lines if line.startswith(("Error", "Exception")) or "Exception in thread" in line]
    return [line for line in found if not any(fault.search(line) for fault in _PIXELMED_FAULTS)]


def read_by_dcmqi(dataset: Dataset, path: Path, folder: Path) -> list[str]:
    """Why QIICR's readers cannot read an object; nothing for those that they have no reader for.

    A Segmentation of images that lie nowhere is read by none of them: they make volumes.
    """
    if dataset.Modality == "SEG" and "FrameOfReferenceUID" not in dataset:
        return []
    reader = {
        "1.2.840.10008.5.1.4.1.1.66.4": "segimage2itkimage",
        "1.2.840.10008.5.1.4.1.1.66.7": "segimage2itkimage",
        "1.2.840.10008.5.1.4.1.1.88.34": "tid1500reader",
    }.get(str(dataset.SOPClassUID))
    if reader is None:
        return []
    command = [program(reader, _WHEELS)]
    if reader == "segimage2itkimage":
        command += ["--outputType", "nrrd", "--inputDICOM", str(path), "--outputDirectory", str(folder)]
    else:
        command += ["--inputDICOM", str(path), "--outputMetadata", str(folder / "report.json")]
    judged = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=120)
    return [f"{reader}: exit status {judged.returncode}: {judged.stderr[-300:]}"] if judged.returncode else []
