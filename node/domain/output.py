"""The kinds of output: the SOP Classes that their datasets bear (PS3.4 §B.5), and as what a viewer shows them."""

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
    "not_performed_sr": "1.2.840.10008.5.1.4.1.1.88.11",
    "parametric_map": "1.2.840.10008.5.1.4.1.1.30",
    "secondary_capture": "1.2.840.10008.5.1.4.1.1.7",
    "presentation_state": "1.2.840.10008.5.1.4.1.1.11.1",
    "key_objects": "1.2.840.10008.5.1.4.1.1.88.59",
    "rtstruct": "1.2.840.10008.5.1.4.1.1.481.3",
    "encapsulated_pdf": "1.2.840.10008.5.1.4.1.1.104.1",
}
#: KIND of an output of `report/outputs` → the kind whose object it refers to, whether or not that is sent along.
REFERS_TO: dict[str, str] = {"measurement_sr": "seg", "comprehensive_sr": "seg", "enhanced_sr": "seg"}
#: KIND of an output of `report/outputs` → what a viewer has to show, in the words of `config.peer.Shown`.
SHOWN_AS_OF_OUTPUT: dict[str, str] = {
    "seg": "SEG",
    "labelmap_seg": "SEG",
    "measurement_sr": "SR",
    "comprehensive_sr": "SR",
    "enhanced_sr": "SR",
    "basic_text_sr": "SR",
    "classification_sr": "SR",
    "not_performed_sr": "SR",
    "parametric_map": "PM",
    "secondary_capture": "SC",
    "presentation_state": "PR",
    "key_objects": "KO",
    "rtstruct": "RTSTRUCT",
    "encapsulated_pdf": "DOC",
}
