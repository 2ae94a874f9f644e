"""The kinds of output, and the SOP Classes that their datasets bear (PS3.4 §B.5)."""

from __future__ import annotations

#: KIND of an output of `report/outputs` → the SOP Class UID of its dataset.
SOP_CLASS_OF_OUTPUT: dict[str, str] = {
    "seg": "1.2.840.10008.5.1.4.1.1.66.4",
    "labelmap_seg": "1.2.840.10008.5.1.4.1.1.66.7",
    "measurement_sr": "1.2.840.10008.5.1.4.1.1.88.34",
    "comprehensive_sr": "1.2.840.10008.5.1.4.1.1.88.33",
    "enhanced_sr": "1.2.840.10008.5.1.4.1.1.88.22",
    "basic_text_sr": "1.2.840.10008.5.1.4.1.1.88.11",
    "classification_sr": "1.2.840.10008.5.1.4.1.1.88.34",
    "not_performed_sr": "1.2.840.10008.5.1.4.1.1.88.34",
    "parametric_map": "1.2.840.10008.5.1.4.1.1.30",
    "secondary_capture": "1.2.840.10008.5.1.4.1.1.7",
    "presentation_state": "1.2.840.10008.5.1.4.1.1.11.1",
    "key_objects": "1.2.840.10008.5.1.4.1.1.88.59",
    "rtstruct": "1.2.840.10008.5.1.4.1.1.481.3",
    "encapsulated_pdf": "1.2.840.10008.5.1.4.1.1.104.1",
}
