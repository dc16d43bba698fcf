"""Links: who is said to be whom, by what, and in one order."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from gliolake.ingest.cohorts.description import load_cohort
from gliolake.ingest.labels.links import find_links, rows_to_link
from gliolake.ingest.scans.fingerprint import LENGTH, MEANS, SUMS
from gliolake.schema.registry import TABLES

COHORTS = {name: load_cohort(name) for name in ("brats21", "ucsf_pdgm")}


def content(name: str) -> list[float]:
    """What an image is known by; a name's second letter is another rounding of the first one's image."""
    made = np.random.default_rng(ord(name[0])).normal(0, [0.1] * MEANS + [0.5] * SUMS)
    rounded = np.random.default_rng(ord(name[1:] or "0")).uniform(-1, 1, LENGTH)
    return (made + rounded * ([0.0005] * MEANS + [0.005] * SUMS) * bool(name[1:])).astype(np.float32).tolist()


def scan(cohort: str, scan_id: str, **images: str) -> dict[str, Any]:
    """A scan's row of ``scans``, with a name for the content of each image; "" where it shows too little."""
    files = [{"role": role, "content": content(name) if name else []} for role, name in images.items()]
    return {"cohort": cohort, "scan_id": scan_id, "source_id": scan_id, "files": files}


def labelled(
    cohort: str, scan_id: str, source_id: str, declared: str | None = None, source: str = "v5"
) -> dict[str, Any]:
    return {"cohort": cohort, "scan_id": scan_id, "source": source, "source_id": source_id,
            "declared_cohort": declared and "brats21", "declared_id": declared}  # fmt: skip


def pairs(links: list[dict[str, Any]]) -> list[tuple[str, str, str, str]]:
    return [(link["kind"], link["scan_a"], link["scan_b"], link["evidence"]) for link in links]


def test_a_follow_up_is_linked_to_its_subjects_first_scan_by_its_suffix_and_by_its_v2_number() -> None:
    first, second = "UCSF-PDGM-0391", "UCSF-PDGM-0391_FU016d"
    v2 = labelled("ucsf_pdgm", second, "UCSF-PDGM-289", source="metadata_v2")
    v5 = labelled("ucsf_pdgm", second, second, source="metadata_v5")
    (by_number,) = find_links([], [v2], COHORTS)
    assert (by_number["kind"], by_number["scan_a"], by_number["scan_b"]) == ("follow-up", first, second)
    assert "metadata_v2 lists it as UCSF-PDGM-289" in by_number["evidence"]
    (both,) = find_links([scan("ucsf_pdgm", second)], [v5, v2], COHORTS)
    assert "_FU016d in metadata_v5" in both["evidence"]
    assert "UCSF-PDGM-289" in both["evidence"]
    assert "images folder" in both["evidence"]


def test_a_declared_id_is_a_link_that_names_its_sources_and_column() -> None:
    rows = [
        labelled("ucsf_pdgm", "UCSF-PDGM-0004", "UCSF-PDGM-004", "BraTS2021_00097", source) for source in ("v5", "v2")
    ]
    assert pairs(find_links([], rows, COHORTS)) == [
        ("declared", "BraTS2021_00097", "UCSF-PDGM-0004", "v2, column BraTS21 ID; v5, column BraTS21 ID")
    ]


def test_equal_images_link_scans_but_equal_masks_do_not() -> None:
    one = scan("brats21", "BraTS2021_00001", FLAIR="", T1="a", T2="b", mask="m")
    two = scan("ucsf_pdgm", "UCSF-PDGM-0002", FLAIR="", T1="a", T2="bx", mask="x")
    three = scan("ucsf_pdgm", "UCSF-PDGM-0003", FLAIR="", T1="c", T2="a", mask="m")
    four = scan("ucsf_pdgm", "UCSF-PDGM-0004", FLAIR="", T1="d", mask="m")
    assert pairs(find_links([four, three, two, one], [], COHORTS)) == [
        ("same content", "BraTS2021_00001", "UCSF-PDGM-0002", "T1 ±0, T2 ±0.003"),
        ("same content", "BraTS2021_00001", "UCSF-PDGM-0003", "T1 = T2 ±0"),
    ]


def components(edges: list[tuple[Any, Any]]) -> set[frozenset[Any]]:
    parent: dict[Any, Any] = {}

    def root(node: Any) -> Any:
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for one, other in edges:
        parent[root(one)] = root(other)
    groups: dict[Any, set[Any]] = {}
    for node in list(parent):
        groups.setdefault(root(node), set()).add(node)
    return {frozenset(group) for group in groups.values()}


HELD = st.dictionaries(
    st.sampled_from(["FLAIR", "T1", "T1wCE", "T2", "mask"]),
    st.sampled_from(["", "a", "ax", "b", "by", "c", "d", "dz"]),
    max_size=5,
)


@given(held=st.lists(HELD, max_size=12), seed=st.integers(0, 9))
def test_content_links_join_what_all_pairs_would_join_whatever_order_scans_come_in(
    held: list[dict[str, str]], seed: int
) -> None:
    scans = [scan(("brats21", "ucsf_pdgm")[n % 2], f"scan-{n:02d}", **images) for n, images in enumerate(held)]
    links = find_links(scans, [], COHORTS)
    shuffled = random.Random(seed).sample(scans, len(scans))
    assert find_links(shuffled, [], COHORTS) == links
    images = [(n, {name[:1] for role, name in names.items() if role != "mask"} - {""}) for n, names in enumerate(held)]
    every_pair = [(f"scan-{a:02d}", f"scan-{b:02d}") for a, x in images for b, y in images if a < b and x & y]
    assert components([(link["scan_a"], link["scan_b"]) for link in links]) == components(every_pair)
    for link in links:
        assert (link["cohort_a"], link["scan_a"]) < (link["cohort_b"], link["scan_b"])
        assert link["score"] == 1.0


DAYS = st.sampled_from(["", "_FU003d", "_FU016d"])


@settings(deadline=None)
@given(held=st.lists(st.tuples(HELD, DAYS, st.booleans()), max_size=12))
def test_what_is_left_out_before_links_are_looked_for_would_have_linked_nothing(
    held: list[tuple[dict[str, str], str, bool]],
) -> None:
    names = [f"UCSF-PDGM-{number:04d}{day}" for number, (_, day, _) in enumerate(held)]
    scans = [scan("ucsf_pdgm", name, **images) for name, (images, _, _) in zip(names, held, strict=True)]
    labels = [
        labelled("ucsf_pdgm", name, name, "BraTS2021_00097" if declared else None)
        for name, (_, _, declared) in zip(names, held, strict=True)
    ]
    files = pa.list_(pa.struct([("role", pa.string()), ("content", pa.list_(pa.float32()))]))
    texts = [(name, pa.string()) for name in ("cohort", "scan_id", "source_id")]
    few = rows_to_link(
        pa.Table.from_pylist(scans, pa.schema([*texts, ("files", files)])),
        pa.Table.from_pylist(
            labels, pa.schema([field for field in TABLES["labels"].schema if field.name in labelled("", "", "")])
        ),
        COHORTS,
    )
    assert find_links(*few, COHORTS) == find_links(scans, labels, COHORTS)
    assert all(row["declared_id"] or "_FU" in row["scan_id"] for row in few[1])
