"""Every figure: drawn from its view alone, the same bytes each time, honest about what it rests on, and literal."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import matplotlib
import pytest

from gliolake.analysis.figures.command import write_figures
from gliolake.analysis.figures.registry import FIGURES, drawn
from gliolake.analysis.figures.style import WIDTH
from gliolake.cli.app import main
from gliolake.errors import InputError
from gliolake.sql.catalog import connect
from gliolake.storage.lake import Lake
from tests.support.figures import LABEL, SITES, Gallery, texts

NAMES, ENDINGS = list(FIGURES), ("png", "svg")


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_holds_the_rows_of_its_view_and_tells_its_numbers_to_those_who_cannot_see_it(
    gallery: Gallery, name: str
) -> None:
    figure = gallery.figures[name]
    rows = gallery.connection.sql(f"FROM {FIGURES[name].view}").to_arrow_table().to_pylist()
    assert figure.rows == rows
    assert gallery.connection.sql(figure.query).to_arrow_table().to_pylist() == rows
    assert figure.png.startswith(b"\x89PNG")
    assert int.from_bytes(figure.png[16:20]) == round(WIDTH * 192)
    assert re.search(r"\d", figure.alt)
    assert figure.alt.endswith(".")
    assert "unterpart of the study" in figure.caption or "The study has no such" in figure.caption or name == "forest"


def test_the_same_rows_are_the_same_bytes_whatever_the_users_settings_are(gallery: Gallery) -> None:
    with matplotlib.rc_context({"font.size": 20, "svg.fonttype": "path", "axes.grid": False}):
        before = dict(matplotlib.rcParams)
        again = {name: drawn(gallery.connection, gallery.lake, name) for name in ("roc", "forest", "flowchart", "map")}
        assert dict(matplotlib.rcParams) == before
    for name, figure in again.items():
        assert figure.svg == gallery.figures[name].svg
        assert figure.png == gallery.figures[name].png
    assert b"<dc:date>" not in again["roc"].svg


@pytest.mark.parametrize(
    "name", ["cases", "decision", "attention", "delta", "roc", "calibration", "forest", "subgroups"]
)
def test_synthetic_scans_are_stamped_on_every_figure_that_rests_on_them(gallery: Gallery, name: str) -> None:
    assert gallery.figures[name].basis == "SYNTHETIC scans"
    assert "Rests on: SYNTHETIC scans" in texts(gallery.figures[name])


def test_only_trained_weights_are_silent(finished: Any) -> None:
    with connect(finished.lake) as connection:
        silent, honest = (drawn(connection, finished.lake, name) for name in ("roc", "forest"))
    assert silent.basis == ""
    assert not any("Rests on" in text for text in texts(silent))
    assert honest.basis == "random weights: no training went into the vectors"
    assert f"Rests on: {honest.basis}" in " ".join(texts(honest))


def test_what_a_file_calls_things_is_drawn_letter_by_letter(gallery: Gallery) -> None:
    on_map = texts(gallery.figures["map"])
    assert {"<script>alert(1)</script>"[:19] + "…", "$x_1$", "_hidden & cut", "北京"} <= set(on_map)
    assert LABEL in texts(gallery.figures["forest"])
    assert any(text.startswith(SITES[0]) for text in texts(gallery.figures["subgroups"]))
    for figure in gallery.figures.values():
        assert b"<script" not in figure.svg
        assert b"\x1b" not in figure.svg


@pytest.mark.parametrize(
    ("name", "command"), [("flowchart", "ingest"), ("ccc", "ccc"), ("map", "map"), ("roc", "study run")]
)
def test_where_there_is_nothing_to_draw_the_command_that_fills_it_is_named(lake: Lake, name: str, command: str) -> None:
    with connect(lake) as connection, pytest.raises(InputError) as refused:
        drawn(connection, lake, name)
    assert f"gliolake {command}" in refused.value.hint


def test_of_several_studies_one_has_to_be_chosen(made: Any) -> None:
    for study in ("made", "it's another"):
        made.row("snn", "table_1", study=study, auc=0.6)
    lake = made.commit()
    with connect(lake) as connection:
        with pytest.raises(InputError, match="several studies"):
            drawn(connection, lake, "forest")
        figure = drawn(connection, lake, "forest", "it's another")
        assert {row["study"] for row in figure.rows} == {"it's another"}
        assert connection.sql(figure.query).to_arrow_table().to_pylist() == figure.rows


def test_all_figures_are_written_and_one_that_cannot_be_drawn_does_not_stop_the_rest(
    made: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made.row("quoted", "table_1", auc=0.622)
    lake = made.commit()
    folder = tmp_path / "new"
    monkeypatch.setattr("sys.argv", f"gliolake figure --lake {lake.root} --output {folder} --json".split())
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    told = {one["name"]: one for one in json.loads(capsys.readouterr().out)["figures"]}
    assert list(told) == NAMES
    assert [name for name, one in told.items() if not one["reason"]] == ["flowchart", "forest"]
    assert told["map"]["hint"] == "gliolake map fills it."
    assert told["forest"]["query"] == 'gliolake sql "FROM figure_forest"'
    assert {file.name for file in folder.iterdir()} == {
        f"{n}.{end}" for n in ("flowchart", "forest") for end in ENDINGS
    }
    mine = folder / "roc.png"
    mine.write_bytes((folder / "forest.png").read_bytes().replace(b"gliolake", b"paint.me"))
    for names, overwrite, said in (((), False, "there already"), (["roc"], True, "is not a picture as gliolake")):
        before = {file: file.read_bytes() for file in folder.iterdir()}
        with pytest.raises(InputError, match=said):
            write_figures(lake, names, output=folder, overwrite=overwrite, progress=False)
        assert {file: file.read_bytes() for file in folder.iterdir()} == before
    write_figures(lake, ["flowchart", "forest"], output=folder, overwrite=True, progress=False)
    assert mine.exists()
    with pytest.raises(InputError, match="nothing to draw for map"):
        write_figures(lake, ["map"], output=folder, progress=False)
    with pytest.raises(InputError) as refused:
        write_figures(lake, ["rock"], output=folder, progress=False)
    assert "roc" in refused.value.hint
