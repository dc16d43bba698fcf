"""gliolake.toml: what it may say, who is heard first, and whose file is believed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from gliolake.config import (
    FILE,
    VARIABLE,
    ClusterSettings,
    KubernetesPods,
    SlurmJob,
    Tls,
    choose_cluster,
    read_settings,
)
from gliolake.errors import InputError

EXAMPLE = Path(__file__).parents[1] / "deploy" / FILE


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's configuration folder, which is the current folder too, so that paths are short."""
    folder = tmp_path / "gliolake"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return folder


def write(file: Path, text: str) -> None:
    """A file that its owner alone can write."""
    file.write_text(text, "utf-8")
    file.chmod(0o644)


def test_options_win_over_the_users_file_and_without_either_this_machine_works(here: Path) -> None:
    assert choose_cluster() == ClusterSettings()
    write(here / FILE, "[cluster]\nscheduler = 'tcp://far:8786'\nthreads = 2\nleast = 2\nmost = 9\n")
    found = choose_cluster()
    assert (found.scheduler, found.threads, found.least, found.most) == ("tcp://far:8786", 2, 2, 9)
    found = choose_cluster("embedded", 3, 4)
    assert (found.scheduler, found.workers, found.threads, found.most) == ("embedded", 3, 4, 0)


def test_the_variable_names_a_file_and_empty_it_turns_files_off(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(here / FILE, "[cluster]\nworkers = 2\n")
    write(here / "other.toml", "[cluster]\nworkers = 5\n")
    monkeypatch.setenv(VARIABLE, str(here / "other.toml"))
    assert choose_cluster().workers == 5
    monkeypatch.setenv(VARIABLE, "")
    assert choose_cluster().workers is None
    monkeypatch.setenv(VARIABLE, "absent.toml")
    with pytest.raises(InputError, match=r"absent\.toml, which is no file"):
        choose_cluster()


@pytest.mark.parametrize(
    "variables",
    [{}, {"XDG_CONFIG_HOME": "."}, {"HOME": "", "XDG_CONFIG_HOME": ".config"}, {"HOME": "/nonexistent"}],
    ids=str,
)
def test_no_file_of_the_current_folder_is_read_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for place in ("", "gliolake", ".config/gliolake", "~/.config/gliolake"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        write(tmp_path / place / FILE, "[cluster]\nscheduler = 'tcp://far:8786'\n")
    monkeypatch.chdir(tmp_path)
    for name in (VARIABLE, "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"HOME": "/nonexistent"} | variables).items():
        monkeypatch.setenv(name, value)
    assert choose_cluster() == ClusterSettings()
    with pytest.raises(InputError) as caught:
        choose_cluster("slurm")
    assert f"./{FILE} is not read unless --config names it" in caught.value.hint


@pytest.mark.parametrize("named", [False, True])
def test_a_file_that_somebody_else_can_have_written_is_not_believed(
    here: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    write(here / FILE, "[cluster]\nworkers = 3\n")
    if named:
        monkeypatch.setenv(VARIABLE, FILE)
    assert choose_cluster().workers == 3
    for mode in (0o664, 0o646):
        (here / FILE).chmod(mode)
        with pytest.raises(InputError, match="Others may write") as caught:
            choose_cluster()
        assert "chmod go-w" in caught.value.hint
    (here / FILE).chmod(0o600)
    if os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: 4321)
    else:
        os.chown(here / FILE, 1234, -1)
    with pytest.raises(InputError, match="belongs to somebody else"):
        choose_cluster()


def test_a_pipe_in_place_of_the_file_is_refused_and_not_waited_for(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(here / FILE, 0o600)
    with pytest.raises(InputError, match="cannot be read"):
        choose_cluster()


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("[clusters]", "clusters is a key", "Did you mean cluster"),
        ("[cluster]\nschedular = 'x'", "cluster.schedular is a key", "Did you mean scheduler"),
        ("[cluster]\nscheduler = 'slrum'", "cluster.scheduler is 'slrum'", "Did you mean slurm"),
        ("[cluster]\nworkers = 0", "cluster.workers is 0", ""),
        ("[cluster]\nworkers = 2\nmost = 4", "leave one out", ""),
        ("[cluster]\nleast = 5\nmost = 4", "cluster.most is 4, below", ""),
        ("[cluster]\nleast = 2", "needs a 'most'", ""),
        ("[cluster.slurm]\nmemory = '1GB'\nqeue = 'x'", "cluster.slurm.qeue is a key", "Did you mean queue"),
        ("[cluster.slurm]\nqueue = 'x'", "cluster.slurm.memory is missing", ""),
        ("[cluster.kubernetes]\nmemory = '1Gi'", "cluster.kubernetes.image is missing", ""),
        ("[cluster.tls]\nca_file = 'a'\ncertificate = 'b'\nkey = 'c'", "tls.ca_file names .*a, which is no file", ""),
        ("[cluster", "not a TOML file", ""),
    ],
)
def test_a_faulty_file_is_refused_by_key_with_the_nearest_name(here: Path, text: str, message: str, hint: str) -> None:
    write(here / FILE, text)
    with pytest.raises(InputError, match=message) as caught:
        choose_cluster()
    assert hint in caught.value.hint


def test_a_cluster_that_nothing_describes_is_refused_with_where_to_describe_it(here: Path) -> None:
    with pytest.raises(InputError, match="started on slurm") as caught:
        choose_cluster("slurm")
    assert "[cluster.slurm]" in caught.value.hint
    with pytest.raises(InputError, match="no cluster named 'kubernets'") as caught:
        choose_cluster("kubernets")
    assert "Did you mean kubernetes" in caught.value.hint


def test_the_shipped_example_is_sound_and_says_every_key_there_is(here: Path) -> None:
    example = EXAMPLE.read_text("utf-8")
    write(here / FILE, example)
    found = choose_cluster()
    assert (found.scheduler, found.workers) == ("embedded", None)
    assert found.slurm is not None
    assert found.kubernetes is not None
    for kind in (ClusterSettings, Tls, SlurmJob, KubernetesPods):
        for key in set(kind.__dataclass_fields__) - {"tls", "slurm", "kubernetes"}:
            assert re.search(rf"^(# )?{key} = ", example, re.MULTILINE), key
    for name in ("ca.pem", "client.pem", "client.key"):
        (here / name).touch()
    everything = re.sub(r"^# (?=\[|[a-z_]+ = )", "", example, flags=re.MULTILINE).replace("\nworkers = 4", "\n")
    write(here / FILE, everything)
    assert read_settings(here / FILE).tls == Tls(
        ca_file=here / "ca.pem", certificate=here / "client.pem", key=here / "client.key"
    )
