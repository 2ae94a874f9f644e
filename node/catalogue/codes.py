"""SNOMED CT terms for what models are usually called to outline or find, guessed from a label; checked by pydicom's."""

from __future__ import annotations

import re

from node.domain.finding import Code

SCHEME = "SCT"
#: Segmented Property Categories (PS3.16 CID 7150).
ANATOMY = Code("91723000", SCHEME, "Anatomical Structure")
ABNORMAL = Code("49755003", SCHEME, "Morphologically Abnormal Structure")
#: Something that was found, of which nobody has said what it is.
FINDING = Code("404684003", SCHEME, "Finding")

_ANATOMICAL = {
    "adrenal gland": ("23451007", "Adrenal gland"),
    "aorta": ("15825003", "Aorta"),
    "bladder": ("89837001", "Bladder"),
    "bone": ("272673000", "Bone"),
    "brain": ("12738006", "Brain"),
    "breast": ("76752008", "Breast"),
    "cerebellum": ("113305005", "Cerebellum"),
    "clavicle": ("51299004", "Clavicle"),
    "colon": ("71854001", "Colon"),
    "duodenum": ("38848004", "Duodenum"),
    "esophagus": ("32849002", "Esophagus"),
    "face": ("89545001", "Face"),
    "femur": ("71341001", "Femur"),
    "gallbladder": ("28231008", "Gallbladder"),
    "heart": ("80891009", "Heart"),
    "hip": ("29836001", "Hip"),
    "hippocampus": ("5366008", "Hippocampus"),
    "humerus": ("85050009", "Humerus"),
    "iliac artery": ("10293006", "Iliac artery"),
    "iliac vein": ("244411005", "Iliac vein"),
    "inferior vena cava": ("64131007", "Inferior vena cava"),
    "kidney": ("64033007", "Kidney"),
    "left atrium": ("82471001", "Left atrium"),
    "left ventricle": ("87878005", "Left ventricle"),
    "liver": ("10200004", "Liver"),
    "lung": ("39607008", "Lung"),
    "pancreas": ("15776009", "Pancreas"),
    "portal vein": ("32764006", "Portal vein"),
    "prostate": ("41216001", "Prostate"),
    "pulmonary artery": ("81040000", "Pulmonary artery"),
    "pulmonary vein": ("122972007", "Pulmonary vein"),
    "rectum": ("34402009", "Rectum"),
    "renal pelvis": ("25990002", "Renal pelvis"),
    "rib": ("113197003", "Rib"),
    "right atrium": ("73829009", "Right atrium"),
    "right ventricle": ("53085002", "Right ventricle"),
    "sacrum": ("54735007", "Sacrum"),
    "scapula": ("79601000", "Scapula"),
    "skull": ("89546000", "Skull"),
    "small bowel": ("30315005", "Small intestine"),
    "spinal cord": ("2748008", "Spinal cord"),
    "spleen": ("78961009", "Spleen"),
    "sternum": ("56873002", "Sternum"),
    "stomach": ("69695003", "Stomach"),
    "superior vena cava": ("48345005", "Superior vena cava"),
    "thalamus": ("42695009", "Thalamus"),
    "trachea": ("44567001", "Trachea"),
    "ureter": ("87953007", "Ureter"),
    "uterus": ("35039007", "Uterus"),
    "vertebra": ("51282000", "Vertebra"),
}
_ABNORMAL = {
    "cyst": ("367643001", "Cyst"),
    "edema": ("79654002", "Edema"),
    "hemorrhage": ("50960005", "Hemorrhage"),
    "lesion": ("52988006", "Lesion"),
    "mass": ("4147007", "Mass"),
    "metastasis": ("128462008", "Metastasis"),
    "necrosis": ("6574001", "Necrosis"),
    "neoplasm": ("108369006", "Neoplasm"),
    "nodule": ("27925004", "Nodule"),
    "tumor": ("108369006", "Neoplasm"),
}
#: Other words for the same.
_SYNONYMS = {
    "adrenal": "adrenal gland",
    "clavicula": "clavicle",
    "heart atrium left": "left atrium",
    "heart atrium right": "right atrium",
    "heart ventricle left": "left ventricle",
    "heart ventricle right": "right ventricle",
    "iliac vena": "iliac vein",
    "ivc": "inferior vena cava",
    "kideny": "kidney",
    "pelvicalyceal system": "renal pelvis",
    "small intestine": "small bowel",
    "tumour": "tumor",
    "urinary bladder": "bladder",
}
_SIDES = re.compile(r"\b(left|right)\b")
#: `rib_left_1`, `vertebrae_L1`: which one of them the label says, the code does not.
_WHICH = re.compile(r"\s+([ctls]?\d+)$")


def guess(label: str) -> tuple[Code, Code] | None:
    """Return category and type for what is called `label`, or `None`. A side and a number stay with the label."""
    words = " ".join(re.split(r"[\s_\-]+", label.strip().lower()))
    words = _WHICH.sub("", words).replace("vertebrae", "vertebra")
    for each in (words, " ".join(_SIDES.sub(" ", words).split())):
        name = _SYNONYMS.get(each, each)
        if name in _ANATOMICAL:
            return ANATOMY, Code(_ANATOMICAL[name][0], SCHEME, _ANATOMICAL[name][1])
        if name in _ABNORMAL:
            return ABNORMAL, Code(_ABNORMAL[name][0], SCHEME, _ABNORMAL[name][1])
    kinds = [word for word in words.split() if _SYNONYMS.get(word, word) in _ABNORMAL]
    return guess(kinds[-1]) if kinds and kinds != [words] else None


def known() -> tuple[Code, ...]:
    """Return every term of the table."""
    found = {*_ANATOMICAL.values(), *_ABNORMAL.values()}
    return (ANATOMY, ABNORMAL, *(Code(value, SCHEME, meaning) for value, meaning in sorted(found)))
