"""Words of imaging that may stay in a description: what else a person wrote there goes (PS3.15 §E.3.5)."""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W_]+(?:\.\d+)?")
#: None of them is a name, an initial or a number of a person.
_TERMS = frozenset(
    (
        # contrasts and sequences
        *("t1", "t2", "t1w", "t2w", "t2star", "pd", "pdw", "flair", "stir", "spair", "dir", "dwi", "adc", "dti", "swi"),
        *("asl", "bold", "tof", "mra", "mrcp", "mprage", "bravo", "space", "cube", "vista", "vibe", "lava", "thrive"),
        *("tse", "fse", "ffe", "tfe", "gre", "spgr", "fspgr", "flash", "haste", "ssfse", "fiesta", "trufi", "bssfp"),
        *("epi", "propeller", "blade", "dixon", "perfusion", "diffusion", "localizer", "localiser", "scout", "survey"),
        *("fatsat", "fs", "ir", "se", "ge", "mip", "mpr", "minip", "subtraction", "dynamic", "trace"),
        # planes and dimensions
        *(
            "ax",
            "axial",
            "tra",
            "trans",
            "transverse",
            "sag",
            "sagittal",
            "cor",
            "coronal",
            "oblique",
            "2d",
            "3d",
            "4d",
        ),
        # contrast media
        *("pre", "post", "contrast", "native", "gd", "gad", "ce", "iv", "oral", "arterial", "venous", "portal"),
        *("delayed", "late", "phase", "unenhanced", "enhanced", "with", "without"),
        # modalities
        *("mr", "mri", "ct", "cta", "hrct", "cr", "dx", "us", "pet", "spect", "xa", "mg", "tomo", "tomosynthesis"),
        *("ultrasound", "radiograph", "mammography"),
        # body
        *("head", "brain", "skull", "neck", "spine", "cervical", "thoracic", "lumbar", "chest", "thorax", "lung"),
        *("lungs", "heart", "cardiac", "breast", "abdomen", "liver", "kidney", "pancreas", "pelvis", "prostate"),
        *("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist", "hand", "hippocampus", "orbit", "sinus"),
        *("whole", "body", "bone", "soft", "tissue", "mediastinum", "parenchyma"),
        # views, sides, kernels
        *(
            "ap",
            "pa",
            "lateral",
            "frontal",
            "mlo",
            "cc",
            "left",
            "right",
            "bilateral",
            "supine",
            "prone",
            "inspiration",
        ),
        *("expiration", "thin", "thick", "slice", "recon", "sharp", "smooth", "standard", "low", "dose", "routine"),
        *("isotropic", "iso", "volume", "segmentation"),
    )
)


def cleaned(text: str) -> str:
    """What remains of a description: known words, in small letters, in their order."""
    return " ".join(word for word in _WORD.findall(text.lower()) if word in _TERMS)
