"""Public collections of scans: the names of their scans, and the older collections that each contains.

Challenges contain scans of older collections, under new names. A patient of UPENN-GBM may thus be in BraTS 2021 too,
and only a table of pairs identifies the patient. Sources: TCIA's mapping of BraTS 2021 (doi 10.7937/jc8x-9874), and
what the challenges of 2017 to 2020 and of 2023 say of their data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Collection:
    """A collection.

    Attributes:
        ids: Regular expression (RE2, case ignored) of its scan ids, whole.
        cohorts: The same, of names of cohorts that hold it; "" where names say nothing.
        made_of: Collections whose patients it holds under names of its own.
    """

    ids: str
    cohorts: str = ""
    made_of: tuple[str, ...] = ()


COLLECTIONS: Mapping[str, Collection] = {
    "ACRIN-FMISO-Brain": Collection(r"ACRIN-FMISO-Brain-\d+\D?.*"),
    "CPTAC-GBM": Collection(r"C3[LN]-\d{5}.*", ".*cptac.*"),
    "IvyGAP": Collection(r"W\d{1,2}(\D.*)?", ".*ivy_?gap.*"),
    "TCGA-GBM": Collection(r"TCGA-\w{2}-\w{4}.*", ".*tcga.*"),
    "TCGA-LGG": Collection(r"TCGA-\w{2}-\w{4}.*", ".*tcga.*"),
    "UCSF-PDGM": Collection(r"UCSF-PDGM-\d{3,4}(\D.*)?"),
    "UPENN-GBM": Collection(r"UPENN-GBM-\d+(\D.*)?", ".*upenn.*"),
    "BraTS 2017-2020": Collection(
        r"BraTS(17|18|19|20)_.+", ".*brats_?(20)?(17|18|19|20).*", ("TCGA-GBM", "TCGA-LGG", "UPENN-GBM")
    ),
    "BraTS 2021": Collection(
        r"BraTS2021_\d{5}.*",
        ".*rsna_?miccai.*",
        (
            "ACRIN-FMISO-Brain",
            "BraTS 2017-2020",
            "CPTAC-GBM",
            "IvyGAP",
            "TCGA-GBM",
            "TCGA-LGG",
            "UCSF-PDGM",
            "UPENN-GBM",
        ),
    ),
    "BraTS 2023": Collection(r"BraTS-GLI-\d{5}.*", ".*brats_?(20)?23.*", ("BraTS 2021",)),
}


def parts() -> dict[str, tuple[str, ...]]:
    """Of each collection that is made of others, itself and all that it is made of, directly or through others."""

    def of(name: str) -> set[str]:
        return {name}.union(*(of(part) for part in COLLECTIONS[name].made_of))

    return {name: tuple(sorted(of(name))) for name in COLLECTIONS}
