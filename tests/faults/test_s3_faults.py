"""An object store that errs, throttles, hangs up and falls silent: every row is there once, or the error has a name."""

from __future__ import annotations

import os
import threading
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import obstore.store
import pytest

from gliolake.errors import InputError, StorageUnreachable, UnsuitedStorage
from gliolake.maintenance.verify import verify
from gliolake.storage.lake import Lake
from gliolake.storage.transaction import Transaction
from tests.support.full import FULL
from tests.support.s3_proxy import CONDITION_FAULTS, FAULTS, TIMEOUT, S3Proxy, at_request, calm, s3_proxy, storm

SOON = timedelta(milliseconds=5)


@pytest.fixture
def proxy(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Proxy]:
    """A proxy that every lake of the test is reached through, by a client that waits for tests and not for oceans."""
    quick = partial(
        obstore.store.from_url,
        client_options={"timeout": timedelta(seconds=TIMEOUT), "allow_http": True},
        retry_config={
            "max_retries": 4,
            "retry_timeout": timedelta(seconds=3),
            "backoff": {
                "init_backoff": timedelta(milliseconds=5),
                "max_backoff": timedelta(milliseconds=20),
                "base": 2,
            },
        },
    )
    monkeypatch.setattr(obstore.store, "from_url", quick)
    with s3_proxy(os.environ["AWS_ENDPOINT_URL"]) as (proxy, address):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield proxy


@pytest.fixture
def place(s3_bucket: str) -> str:
    """A prefix of its own."""
    return f"{s3_bucket}/{uuid.uuid4().hex}"


def ages(lake: Lake) -> list[tuple[str, float | None]]:
    """Each row's scan and age; a row that is there twice is twice in the list."""
    return sorted((row["scan_id"], row["age"]) for row in lake.read("labels").to_pylist())


@pytest.mark.faults
@pytest.mark.parametrize(
    "fault", [fault if fault == "answer lost" else pytest.param(fault, marks=pytest.mark.long) for fault in FAULTS]
)
def test_a_fault_at_any_request_of_a_commit_loses_no_row_and_doubles_none(
    proxy: S3Proxy, place: str, label: Any, record_property: Any, fault: str
) -> None:
    """A build that appends one row more than there are is the hardest case: made twice, it would add two."""

    def build(transaction: Transaction) -> None:
        number = transaction.read("labels").num_rows
        transaction.append("labels", [label(number)])
        transaction.upsert("labels", [label(0, age=float(number))])

    for point in range(1000):
        lake = Lake(f"{place}/{point}", create=True)
        lake.transact(lambda transaction: transaction.append("labels", [label(0)]), run_id="r")
        before = proxy.injected
        proxy.plan = at_request(point, fault)
        record = lake.transact(build, run_id="r")
        proxy.plan = calm
        assert record is not None
        assert record.version == lake.version == 2
        assert ages(lake) == ages(Lake(lake.root)) == [("scan-0000", 1.0), ("scan-0001", None)]
        if proxy.injected == before:
            break
    assert proxy.injected == point >= 4
    record_property(f"faults: S3 {fault}", proxy.injected)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(8 if FULL else 1))
def test_two_writers_in_a_storm_of_faults_leave_what_they_leave_in_fair_weather(
    proxy: S3Proxy, place: str, label: Any, record_property: Any, seed: int
) -> None:
    commits = 30 if FULL else 6
    told: list[BaseException] = []

    def write(writer: int) -> None:
        try:
            lake = Lake(place, create=True)
            for number in range(commits):
                own, shared = [label(1000 * writer + number)], [label(9000 + writer, age=float(number))]
                lake.transact(lambda tx, own=own: tx.append("labels", own), run_id=f"r{writer}")
                lake.transact(lambda tx, shared=shared: tx.upsert("labels", shared), run_id=f"r{writer}")
        except BaseException as error:
            told.append(error)
            raise

    proxy.plan = storm(seed, 0.15)
    writers = [threading.Thread(target=write, args=(writer,)) for writer in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert told == []
    proxy.plan = calm
    own = [(f"scan-{1000 * writer + number:04d}", None) for writer in (1, 2) for number in range(commits)]
    lake = Lake(place)
    assert ages(lake) == sorted([*own, *((f"scan-{9000 + writer}", commits - 1.0) for writer in (1, 2))])
    assert lake.version == 4 * commits
    assert not any(finding.is_damage for finding in verify(lake, grace=0).findings)
    assert proxy.injected > commits
    record_property("faults: S3 storm over two writers", proxy.injected)


@pytest.mark.parametrize("fault", CONDITION_FAULTS)
def test_a_store_that_cannot_give_a_name_once_is_refused_by_name_before_anything_is_committed(
    proxy: S3Proxy, place: str, label: Any, fault: str
) -> None:
    lake = Lake(place, create=True)
    proxy.plan = lambda method: fault
    with pytest.raises(
        UnsuitedStorage, match=f"{os.environ['AWS_ENDPOINT_URL']} cannot hold the lake {place}"
    ) as caught:
        lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert "If-None-Match" in caught.value.hint
    assert [*lake.files.list()] == []


def test_a_lake_that_moved_to_a_store_which_ignores_conditions_is_refused_there_and_still_read(
    proxy: S3Proxy, place: str, label: Any
) -> None:
    Lake(place, create=True).transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    proxy.plan = lambda method: "condition ignored"
    lake = Lake(place)
    with pytest.raises(UnsuitedStorage):
        lake.transact(lambda tx: tx.append("labels", [label(2)]), run_id="r")
    assert ages(lake) == [("scan-0001", None)]


def test_a_bucket_that_vanishes_is_said_by_every_request(proxy: S3Proxy, place: str, label: Any) -> None:
    lake = Lake(place, create=True)
    lake.transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    path = next(iter(lake.state().files))
    proxy.plan = lambda method: "bucket gone"
    asks: list[Callable[[], object]] = [
        lambda: lake.transact(lambda tx: tx.append("labels", [label(2)]), run_id="r"), lambda: lake.read("labels"),
        lambda: lake.files.put(path, b"x"), lambda: lake.files.create([path], b"x"), lambda: lake.files.delete(path),
        lambda: [*lake.files.list()], lambda: lake.files.move(path, ["_quarantine/x"]), lambda: Lake(place),
    ]  # fmt: skip
    for ask in asks:
        with pytest.raises(StorageUnreachable, match="NoSuchBucket"):
            ask()


@pytest.mark.parametrize(
    "address",
    [
        "s3://ann:hunter2@bucket/lake", "s3://:hunter2@bucket", "S3://hunter2@bucket/x", "s3:ann:hunter2@bucket",
        "s3://hunter 2/x", "s3://ann:a/hunter2@bucket/x", "s3://bucket/lake?X-Amz-Signature=hunter2", "https://ann:hunter2@host/bucket",
        "s3:/bucket/x", "s3://", "s3:///x", "s3:bucket/x", "s3://bucket/lake#hunter2", "gs://ann:hunter2@bucket/lake",
    ],
)  # fmt: skip
def test_an_address_that_is_none_or_holds_a_password_is_refused_and_no_password_shown(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=r"^The address|^'s3:|is no address|^A lake cannot") as caught:
        Lake(address, create=True)
    assert "s3://bucket/prefix" in caught.value.hint
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize("endpoint", ["no address of hunter2", "http://", "ftp://hunter2", "https://ann:hunter2 @host"])
def test_an_endpoint_that_is_no_address_is_refused_and_not_shown(
    endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(InputError, match="AWS_ENDPOINT_URL is no address") as caught:
        Lake("s3://bucket/lake")
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


def test_a_password_in_the_endpoint_is_not_shown_when_the_store_errs(
    proxy: S3Proxy, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy.plan = lambda method: "error 500"
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://ann:hunter2@127.0.0.1:{proxy.server_port}")
    with pytest.raises(StorageUnreachable, match=r"127\.0\.0\.1") as caught:
        Lake(place)
    assert "hunter2" not in f"{caught.value}{caught.value.hint}"


def test_a_lake_begins_in_a_prefix_that_was_made_as_a_folder(s3_bucket: str, place: str, label: Any) -> None:
    bucket, prefix = s3_bucket.removeprefix("s3://"), place.rpartition("/")[2]
    address = f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}/{prefix}/"
    urllib.request.urlopen(urllib.request.Request(address, data=b"", method="PUT")).close()
    Lake(place, create=True).transact(lambda tx: tx.append("labels", [label(1)]), run_id="r")
    assert ages(Lake(place)) == [("scan-0001", None)]


def test_a_store_that_stays_away_is_named_and_the_same_command_goes_on_later(
    proxy: S3Proxy, place: str, label: Any
) -> None:
    lake = Lake(place, create=True)
    rows = [label(number) for number in range(3)]
    proxy.plan = lambda method: "error 500" if method == "PUT" else None
    with pytest.raises(StorageUnreachable, match="the lake at s3://lakes") as caught:
        lake.transact(lambda tx: tx.upsert("labels", rows), run_id="r")
    assert "Run the same command again" in caught.value.hint
    proxy.plan = lambda method: "request lost"
    with pytest.raises(StorageUnreachable):
        Lake(place)
    proxy.plan = calm
    lake.transact(lambda tx: tx.upsert("labels", rows), run_id="r")
    assert len(ages(Lake(place))) == 3
