"""What somebody has said of a study in an object beside its images: a report, a segmentation, a document."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.finding import Code, Finding


class DocumentKind(StrEnum):
    """What kind of object it is."""

    REPORT = "report"
    SEGMENTATION = "segmentation"
    #: Noted, and not looked into.
    ENCAPSULATED = "encapsulated document"


class DocumentState(StrEnum):
    """What became of one."""

    #: What it says is known.
    READ = "read"
    #: Known to be there.
    NOTED = "noted"
    #: It may be about another person, or a rejection note has taken it out of use: nothing of it is used.
    NOT_BELIEVED = "not believed"
    #: It cannot be read, with the reason.
    UNREADABLE = "unreadable"


#: Reports that computer-aided detection writes: a device says it, whatever else they tell.
DETECTION_REPORTS = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (50, 65, 69))
#: PS3.4 Table B.5-1: Basic Text, Enhanced, Comprehensive, Comprehensive 3D and Extensible SR.
_REPORTS = frozenset(f"1.2.840.10008.5.1.4.1.1.88.{number}" for number in (11, 22, 33, 34, 35))
#: Segmentation and Label Map Segmentation.
_SEGMENTATIONS = frozenset({"1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"})
#: Encapsulated PDF and CDA.
_ENCAPSULATED = frozenset({"1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.104.2"})


def kind_of(sop_class_uid: str) -> DocumentKind | None:
    """What kind of document a SOP Class is; `None` for all others."""
    if sop_class_uid in _REPORTS or sop_class_uid in DETECTION_REPORTS:
        return DocumentKind.REPORT
    if sop_class_uid in _SEGMENTATIONS:
        return DocumentKind.SEGMENTATION
    return DocumentKind.ENCAPSULATED if sop_class_uid in _ENCAPSULATED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A text of a report, under its heading: "impression", "findings" or "addendum"."""

    heading: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coded:
    """Something that a report says by a code: it is so, or it is not."""

    code: Code
    present: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorFinding:
    """Something that a report or segmentation shows, with numbers in the units that it has them in."""

    #: `segment_number` is of the segmentation named below.
    finding: Finding
    #: SOP Instance UID of the segmentation; empty where it has no segment.
    segmentation_uid: str = ""
    #: Which algorithm says so; empty where a person does, or nobody is told.
    algorithm: str = ""
    #: Of our own objects: digests of the model and of its card.
    model_digest: str = ""
    card_digest: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorDocument:
    """What was read of one object; what it does not tell is empty."""

    title: str = ""
    #: Completion Flag (0040,A491), Verification Flag (0040,A493) and Preliminary Flag (0040,A496), as they stand.
    completion: str = ""
    verification: str = ""
    preliminary: str = ""
    #: A device has observed what it says, and no person.
    by_device: bool = False
    #: Manufacturer and its model name.
    made_by: str = ""
    #: Content Date (0008,0023), YYYYMMDD.
    document_date: str = ""
    passages: tuple[Passage, ...] = ()
    coded: tuple[Coded, ...] = ()
    findings: tuple[PriorFinding, ...] = ()
    #: Of a segmentation: Series Instance UIDs of the images that it says it was made on.
    made_on: tuple[str, ...] = ()
    #: The same, SOP Instance UIDs of the images that it names anywhere.
    made_of: tuple[str, ...] = ()
    #: Of a segmentation: a person has drawn each of its segments, or helped to, and each says what it is.
    drawn: bool = False
    #: How many findings or measurements were left out, for there were too many.
    left_out: int = 0

    @property
    def standing(self) -> str:
        """In the standard's own words, how far it stands: "COMPLETE, UNVERIFIED"."""
        said = (self.completion, self.verification, "" if self.preliminary == "FINAL" else self.preliminary)
        return ", ".join(part for part in said if part)

    @property
    def counts(self) -> bool:
        """Whether a person stands for what it says: verified, or completed by one and not marked as preliminary."""
        if self.verification == "VERIFIED":
            return True
        return self.completion == "COMPLETE" and self.preliminary != "PRELIMINARY" and not self.by_device
