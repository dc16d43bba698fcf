"""The published Table S4: its means, its features' names, and files that are not it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from gliolake.analysis.agreement.published import PAIRS, ingest_published
from gliolake.errors import InputError
from gliolake.modeling.study.file import read_study
from gliolake.schema.kinetics import kinetics_labels
from gliolake.sql import catalog
from gliolake.sql.query import query
from gliolake.storage.lake import Lake

MEANS = {
    ("ViViT", "SlowFast"): 0.1059, ("ViViT", "IRCSN"): 0.0092, ("ViViT", "I3D"): 0.0497,
    ("SlowFast", "IRCSN"): 0.0110, ("SlowFast", "I3D"): 0.0085, ("I3D", "IRCSN"): 0.0079,
}  # fmt: skip


def test_the_published_means_stand_there_before_the_lake_has_vectors(lake: Lake, reference: Path) -> None:
    file = reference / "paper" / "table_s4_ccc.csv"
    report = ingest_published(lake, file)
    assert report.means == pytest.approx(dict(zip(PAIRS, MEANS.values(), strict=True)), abs=5e-5)
    rows = query(lake, "FROM ccc_summary").to_pylist()
    found = {(row["first_network"], row["second_network"]): row["published"] for row in rows}
    assert found == pytest.approx(MEANS, abs=5e-5)
    assert {(row["first"], row["mean"], row["modality"], row["basis"]) for row in rows} == {
        (None, None, "all", "published")
    }
    version = lake.version
    ingest_published(lake, file)
    assert lake.version == version


def test_each_feature_has_its_published_figures_and_its_name(
    lake: Lake, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (reference / "paper" / "table_s4_ccc.csv").open(encoding="utf-8") as lines:
        printed = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(lines)]
    with (reference / "paper" / "table_s3_kinetics400_labels.csv").open(encoding="utf-8") as lines:
        labels = [row["label"] for row in csv.DictReader(lines)]
    ingest_published(lake, reference / "paper" / "table_s4_ccc.csv")
    found = query(lake, "FROM ccc_table_s4").to_pylist()
    assert [{name: row[name] for name in ("feature", *PAIRS)} for row in found] == printed
    assert [row["label"] for row in found] == labels == list(kinetics_labels())
    # Without GluonCV, as on MXNet's workers.
    monkeypatch.setattr(catalog, "kinetics_labels", tuple)
    assert {row["label"] for row in query(lake, "FROM ccc_table_s4").to_pylist()} == {None}


def test_the_views_name_networks_as_the_study_file_does(lake: Lake) -> None:
    of_study = {(b, name) for name, backbones in read_study().features.items() for b in backbones}
    known = {tuple(row.values()) for row in query(lake, "FROM study_networks").to_pylist()}
    assert {name.lower() for _, name in known} == {network for pair in PAIRS for network in pair.split("_")}
    assert known <= of_study
    assert {row for row in of_study if row[1] in dict(map(reversed, known))} == known


def written(folder: Path, *, header: str = "", line: int = 0, text: str = "", rows: int = 400) -> Path:
    """A table of the right form, but for one line."""
    lines = [f"{feature},0.1,0.2,0.3,0.4,0.5,-1" for feature in range(1, rows + 1)]
    lines = [header or ",".join(("feature", *PAIRS)), *lines]
    if line:
        lines[line - 1] = text
    file = folder / "table.csv"
    file.write_text("\n".join(lines), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"header": "feature,vivit_slowfast,vivit_i3d"}, "lacks vivit_ircsn"),
        ({"header": "place," + ",".join(PAIRS)}, "lacks feature and has aaaaa"),
        ({"line": 5, "text": "4,0.1,x,0.3,0.4,0.5,-1"}, "line 5, column vivit_ircsn: a is no number"),
        ({"line": 5, "text": "4,0.1,0.2,0.3,0.4,0.5,1.01"}, "line 5, column i3d_ircsn: 9.99 is no number"),
        ({"line": 5, "text": "4,nan,0.2,0.3,0.4,0.5,1"}, "line 5, column vivit_slowfast: aaa is no number"),
        ({"line": 5, "text": "401,0.1,0.2,0.3,0.4,0.5,1"}, "line 5, column feature: 999 is no whole"),
        ({"line": 5, "text": "3,0.1,0.2,0.3,0.4,0.5,1"}, "line 5: feature 3 is in line 4 already"),
        ({"line": 5, "text": "4,0.1"}, "line 5: 2 fields"),
        ({"rows": 398}, "no row for 2 features, the first 399"),
    ],
)
def test_a_file_that_is_not_the_table_is_refused_with_the_place(
    lake: Lake, tmp_path: Path, change: dict[str, str], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        ingest_published(lake, written(tmp_path, **change))
    assert not lake.read("published_ccc").num_rows
