"""An Encapsulated PDF: all models of a study on one page, to print or to file (PS3.3 §A.45.1)."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage

from node.domain.finding import Code
from node.domain.work import OutcomeState
from node.report.attributes import stamp
from node.report.coding import coded
from node.report.evidence import Evidence
from node.report.pictures.bare import bare_instance
from node.report.pictures.drawing import PANELS
from node.report.pictures.printing import printed
from node.report.pictures.references import image_references
from node.report.pictures.summary import key_slices, notice

KIND = "encapsulated_pdf"
NEEDS: tuple[str, ...] = ()
SHOWN_AS = "DOC"
SCOPE = "study"
FALLBACKS: tuple[str, ...] = ()
#: High, so that hanging protocols put the originals first.
SERIES_NUMBER = 1009

#: PS3.16 CID 7020 is extensible; the reports beside it bear the same title.
_TITLE = Code("126000", "DCM", "Imaging Measurement Report")


def unfit(evidence: Evidence) -> str:
    """A summary is one of results."""
    return "" if evidence.state is OutcomeState.RESULT else "the model did not read"


def build(evidence: Evidence, built: Mapping[str, Dataset]) -> Dataset:  # noqa: ARG001 - refers to no other output
    """Return the document; neither patient nor order is on its page."""
    document = bare_instance(
        evidence,
        KIND,
        sop_class_uid=EncapsulatedPDFStorage,
        modality="DOC",
        series_number=SERIES_NUMBER,
        label="Report",
    )
    document.ConversionType = "WSD"
    document.AcquisitionDateTime = ""  # type 2 (PS3.3 §C.24.2): of several images
    # The page has pictures, and sources may have a patient burned in.
    document.BurnedInAnnotation = "YES"
    document.DocumentTitle = f"AI summary, {notice(evidence)}"
    document.ConceptNameCodeSequence = [coded(_TITLE)]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    content = printed(evidence)
    document.EncapsulatedDocument = content + b"\0" * (len(content) % 2)
    document["EncapsulatedDocument"].VR = "OB"
    document.EncapsulatedDocumentLength = len(content)
    shown = [each.slices[index] for each in evidence.together or (evidence,) for index in key_slices(each, PANELS)]
    document.SourceInstanceSequence = image_references(
        shown or [evidence.slices[0]], codes.DCM.SourceImageForImageProcessingOperation
    )
    stamp(document, evidence, KIND)
    return document
