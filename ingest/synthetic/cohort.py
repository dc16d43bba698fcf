"""Two synthetic cohorts on disk, laid out and labelled as the real ones are, with every irregularity of the real ones.

For tests and the demo. The files say what they are: the NIfTI field ``descrip`` holds ``gliolake synthetic``, and a
README lies beside them. What an ingest should find is returned as ``truth``.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gliolake.errors import InputError
from gliolake.ingest.synthetic.brain import Anatomy
from gliolake.ingest.synthetic.files import (
    BRATS_HEADER,
    BRATS_NAMES,
    README,
    UCSF_HEADER,
    UCSF_NAMES,
    Session,
    write_csv,
    write_sessions,
)
from gliolake.log.progress import track

FEWEST_PATIENTS, FEWEST_EXTERNAL = 8, 4
"""Below these there is no room for the oddities, each of which needs a patient of its own."""

_TAKEN_NUMBERS = {138, 175, 181, 278, 289, 315, 391, 396, 409, 429, 431, 433}
"""UCSF numbers that stand for known follow-ups of real patients, or have some."""


@dataclass
class SyntheticCohorts:
    """Where the cohorts lie, and what is true of them.

    ``truth`` has: ``label_rows`` (rows of each label file), ``training_scans`` (labelled BraTS21 scans),
    ``training_patients``, ``overlap`` (UCSF scans with a call that are training scans, by id or by content),
    ``same_content`` (those told by content alone), ``external`` and ``external_strict`` (scans with a call whose
    patient is nowhere in training; nowhere in BraTS21), ``kept_out_by_follow_up`` (those lost to a follow-up link
    alone), ``label_conflicts``, ``scans`` (sound scans by cohort), ``exclusions`` (cohort, scan, step, reason) and
    ``methylated`` (what was planted, by scan).
    """

    folder: Path
    brats21_images: Path
    brats21_labels: Path
    ucsf_images: Path
    ucsf_labels: Path
    truth: dict[str, Any]


def write_cohorts(
    folder: str | Path, *, patients: int = 96, external: int = 40, signal: float = 1.0, seed: int = 0, workers: int = 1,
    progress: bool = False,
) -> SyntheticCohorts:  # fmt: skip
    """Write BraTS21 and UCSF-PDGM look-alikes below ``folder``.

    Args:
        folder: Made if it is not there.
        patients: BraTS21 patients with a label and sound images, at least 8, half of them methylated.
        external: UCSF-PDGM patients with a call who are in no training set, at least 4, half of them methylated.
        signal: How much of the MGMT status shows in the images: 0 nothing, 1 plainly.
        seed: Same seed, same bytes.
        workers: Processes that write.
        progress: Draw a bar.

    Raises:
        InputError: too few patients, or a negative signal or seed.
    """
    if patients < FEWEST_PATIENTS or external < FEWEST_EXTERNAL or signal < 0 or seed < 0:
        raise InputError(
            f"Synthetic cohorts need at least {FEWEST_PATIENTS} patients and {FEWEST_EXTERNAL} external ones, and no "
            f"negative signal or seed; given {patients}, {external}, {signal} and {seed}."
        )
    cohorts = _Cohorts(Path(folder), signal, seed)
    cohorts.add_training(patients)
    cohorts.add_training_oddities(patients)
    cohorts.add_overlaps()
    cohorts.add_external(external)
    return cohorts.write(workers, progress)


@dataclass
class _Cohorts:
    """The cohorts as they are being thought up."""

    folder: Path
    signal: float
    seed: int
    sessions: list[Session] = field(default_factory=list)
    brats_rows: list[tuple[str, int]] = field(default_factory=list)
    ucsf_rows: list[dict[str, str]] = field(default_factory=list)
    truth: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = "training_scans overlap same_content external external_strict kept_out_by_follow_up label_conflicts"
        self.truth = {name: [] for name in [*names.split(), "exclusions"]}
        self.truth |= {"scans": {"brats21": [], "ucsf_pdgm": []}, "methylated": {}}
        self._numbers = (number for number in range(4, 10_000) if number not in _TAKEN_NUMBERS)
        self._draw = np.random.default_rng([self.seed, 1])

    def anatomy(self, patient: int, methylated: bool) -> Anatomy:
        return Anatomy((self.seed, 2, patient), methylated, self.signal)

    def brats(self, number: int, anatomy: Anatomy, *, call: int | None, session: int = 0, fault: str = "") -> str:
        """A BraTS21 scan, and a label row where there is a call."""
        scan_id = f"BraTS2021_{number:05d}"
        seed = (*anatomy.seed, session)
        self.sessions.append(Session(f"brats21/images/{scan_id}", scan_id, BRATS_NAMES, anatomy, seed, fault))
        if call is not None:
            self.brats_rows.append((f"{number:05d}", call))
            self.truth["training_scans"].append(scan_id)
        self._note("brats21", scan_id, anatomy, fault)
        return scan_id

    def ucsf(
        self, anatomy: Anatomy, status: str, index: str, *, subject: int = 0, day: int = 0, brats_id: str = "",
        session: int = 1, fault: str = "",
    ) -> tuple[str, int]:  # fmt: skip
        """A UCSF-PDGM scan and its metadata row; its scan id and its subject's number."""
        subject = subject or next(self._numbers)
        visit = f"_FU{day:03d}d" if day else ""
        scan_id = f"UCSF-PDGM-{subject:04d}{visit}"
        folder = f"ucsf_pdgm/images/{scan_id}_nifti"
        seed = (*anatomy.seed, session)
        # Another compression level: what is identical by content is not so by its bytes.
        self.sessions.append(Session(folder, scan_id, UCSF_NAMES, anatomy, seed, fault, level=2))
        source_id = scan_id if day else f"UCSF-PDGM-{subject:03d}"
        self.ucsf_rows.append(self._metadata(source_id, status, index, brats_id))
        self._note("ucsf_pdgm", scan_id, anatomy, fault)
        return scan_id, subject

    def add_training(self, patients: int) -> None:
        """Patients 0 … n−1, methylated in turns, each with one labelled scan."""
        for number in range(patients):
            methylated = number % 2 == 0
            self.brats(number, self.anatomy(number, methylated), call=int(methylated))
        self.truth["training_patients"] = patients

    def add_training_oddities(self, patients: int) -> None:
        """A missing modality, a truncated file, scans without label, labels without scan, rows given twice."""
        after = patients
        for fault, methylated in (("missing T2", True), ("truncated FLAIR", False)):
            self.brats(after, self.anatomy(after, methylated), call=int(methylated), fault=fault)
            self.truth["training_patients"] += 1
            after += 1
        self.second_scan_number = after  # of patient 0, under a name of its own, told by UCSF's follow-up
        self.brats(after, self.anatomy(0, True), call=1, session=2)
        self.without_label = [after + 1, after + 2]
        for number in self.without_label:
            self.brats(number, self.anatomy(number, number % 2 == 0), call=None)
        for number in (after + 3, after + 4):
            self.brats_rows.append((f"{number:05d}", number % 2))
            self.truth["training_scans"].append(f"BraTS2021_{number:05d}")
            self.truth["training_patients"] += 1
        self.brats_rows.append(self.brats_rows[1])
        twice = f"{after + 5:05d}"
        self.brats_rows += [(twice, 0), (twice, 1)]
        self._exclude("brats21", f"BraTS2021_{twice}", "labels", "conflicting duplicate rows")

    def add_overlaps(self) -> None:
        """UCSF scans of BraTS21 training patients: declared, told by content alone, or tied by a follow-up alone."""
        overlap, kept_out = self.truth["overlap"], self.truth["kept_out_by_follow_up"]
        first, subject = self.ucsf(self.anatomy(0, True), "positive", "7", brats_id="BraTS2021_00000")
        again = f"BraTS2021_{self.second_scan_number:05d}"
        second, _ = self.ucsf(
            self.anatomy(0, True), "positive", "7", subject=subject, day=16, brats_id=again, session=3
        )
        plain, _ = self.ucsf(self.anatomy(1, False), "negative", "0", brats_id="BraTS2021_00001")
        other, _ = self.ucsf(self.anatomy(2, True), "positive", "12", brats_id="BraTS2021_00002")
        # Methylated at one site: positive at UCSF, 0 in BraTS21.
        torn, _ = self.ucsf(self.anatomy(3, False), "positive", "1", brats_id="BraTS2021_00003")
        self.truth["label_conflicts"].append(("BraTS2021_00003", torn))
        same = [
            self.ucsf(self.anatomy(4, True), "positive", "4", session=0)[0],
            self.ucsf(self.anatomy(5, False), "negative", "0", session=0)[0],
        ]
        self.truth["same_content"] += same
        # The first visit says nothing of BraTS21, the second does; and the other way round.
        base, subject = self.ucsf(self.anatomy(6, True), "positive", "9")
        late, _ = self.ucsf(
            self.anatomy(6, True), "positive", "9", subject=subject, day=175, brats_id="BraTS2021_00006", session=3
        )
        known, subject = self.ucsf(self.anatomy(7, False), "negative", "0", brats_id="BraTS2021_00007")
        silent, _ = self.ucsf(self.anatomy(7, False), "negative", "0", subject=subject, day=1, session=3)
        overlap += [first, second, plain, other, torn, *same, late, known]
        kept_out += [base, silent]

    def add_external(self, external: int) -> None:
        """Patients who are in no training set, some with oddities of their own, and scans that have no call."""
        start = 10_000
        for number in range(external):
            methylated = number % 2 == 0
            anatomy = self.anatomy(start + number, methylated)
            status, index = ("positive", str(2 + number % 16)) if methylated else ("negative", "0")
            brats_id, shared = "", anatomy
            if number == 1:
                status, index = "positive", "1"  # one site: positive here, unmethylated by BraTS21's rule
            elif number == 2:
                index = "unknown"
            elif number == 3:  # an unlabelled BraTS21 scan: external, but not strictly
                brats_id = f"BraTS2021_{self.without_label[0]:05d}"
                shared = self.anatomy(self.without_label[0], methylated)
                shared = Anatomy(shared.seed, self.without_label[0] % 2 == 0, self.signal)
                status, index = ("positive", "5") if shared.methylated else ("negative", "0")
            scan_id, subject = self.ucsf(shared, status, index, brats_id=brats_id)
            self.truth["external"].append(scan_id)
            if number == 0:
                self.ucsf(shared, "unknown", "unknown", subject=subject, day=42, session=3)
        for number, status in enumerate(["unknown", "unknown", "indeterminate"], start + external):
            self.ucsf(self.anatomy(number, number % 2 == 0), status, "unknown")
        empty, _ = self.ucsf(self.anatomy(start + external + 3, False), "negative", "0", fault="empty mask")
        self.truth["external"].append(empty)
        self.truth["external_strict"] = [name for at, name in enumerate(self.truth["external"]) if at != 3]

    def write(self, workers: int, progress: bool) -> SyntheticCohorts:
        """Put everything on disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "README.txt").write_text(README, encoding="utf-8")
        bar = track("writing scans", len(self.sessions)) if progress else nullcontext(lambda: None)
        with bar as advance:
            for _ in write_sessions(self.folder, self.sessions, workers):
                advance()
        brats_labels = self.folder / "brats21" / "train_labels.csv"
        ucsf_labels = self.folder / "ucsf_pdgm" / "UCSF-PDGM-metadata_v5.csv"
        write_csv(brats_labels, [BRATS_HEADER, *self.brats_rows])
        write_csv(ucsf_labels, [UCSF_HEADER, *([row[name] for name in UCSF_HEADER] for row in self.ucsf_rows)])
        self.truth["label_rows"] = {"brats21": len(self.brats_rows), "ucsf_pdgm": len(self.ucsf_rows)}
        images = self.folder / "brats21" / "images", self.folder / "ucsf_pdgm" / "images"
        return SyntheticCohorts(self.folder, images[0], brats_labels, images[1], ucsf_labels, self.truth)

    def _note(self, cohort: str, scan_id: str, anatomy: Anatomy, fault: str) -> None:
        self.truth["methylated"][scan_id] = anatomy.methylated
        if fault:
            reason = {"missing T2": "missing modality", "truncated FLAIR": "unreadable file"}.get(fault, fault)
            self._exclude(cohort, scan_id, "images", reason)
        else:
            self.truth["scans"][cohort].append(scan_id)

    def _exclude(self, cohort: str, scan_id: str, step: str, reason: str) -> None:
        self.truth["exclusions"].append((cohort, scan_id, step, reason))

    def _metadata(self, source_id: str, status: str, index: str, brats_id: str) -> dict[str, str]:
        """A row of the metadata; what the image does not show is drawn at random."""
        draw = self._draw
        row = dict.fromkeys(UCSF_HEADER, "")
        row |= {"ID": source_id, "Sex": str(draw.choice(["F", "M"])), "Age at MRI": str(draw.integers(25, 88))}
        row |= {"WHO CNS Grade": "4", "Final pathologic diagnosis (WHO 2021)": "Glioblastoma, IDH-wildtype"}
        row |= {"MGMT status": status, "MGMT index": index, "1p/19q": str(draw.choice(["intact", "unknown"]))}
        row |= {"IDH": "wildtype", "1-dead 0-alive": str(draw.integers(2)), "OS": str(draw.integers(20, 2000))}
        row |= {"EOR": str(draw.choice(["GTR", "STR", "biopsy"])), "Biopsy prior to imaging": "No"}
        if brats_id:
            labelled = brats_id in self.truth["training_scans"]
            row |= {"BraTS21 ID": brats_id, "BraTS21 Segmentation Cohort": "Training"}
            row |= {"BraTS21 MGMT Cohort": "Training" if labelled else ""}
        return row
