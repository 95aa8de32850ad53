from __future__ import annotations

import threading
import time

import pytest

from blemish.data import read_dataset
from service_fixtures import API


def ended(client, name: str) -> dict:
    for _ in range(600):
        found = client.get(f"{API}/jobs/{name}").json()
        if found["state"] not in ("waiting", "running"):
            return found
        time.sleep(0.05)
    raise AssertionError(found)


def test_a_job_makes_the_pairs_that_generate_makes(serve, generator, dataset, tmp_path):
    client = serve()
    begun = client.post(f"{API}/generate", json={"counts": {"rust": 2}, "seed": 3})
    assert begun.status_code == 202
    job = ended(client, begun.json()["id"])
    assert (job["state"], job["done"], job["total"]) == ("done", 2, 2)
    generator.generate(dataset.train, {"rust": 2}, tmp_path / "own", seed=3, processes=1)
    for number in range(2):
        for what, folder, stem in (("image", "test", ""), ("mask", "ground_truth", "_mask")):
            answer = client.get(f"{API}/jobs/{job['id']}/pairs/{number}/{what}")
            file = tmp_path / "own" / folder / "rust" / f"{number:06d}{stem}.png"
            assert answer.content == file.read_bytes()
    assert client.get(f"{API}/jobs/{job['id']}/pairs/2/image").status_code == 404
    assert len(read_dataset(tmp_path / "pairs").train) == len(dataset.train)


def test_without_a_folder_of_pairs_a_job_has_its_own_until_the_end(serve, generator, dataset):
    client = serve(bare=True)
    bench = client.bench
    from blemish.deploy.service.jobs import Jobs

    bench.jobs = Jobs(generator, dataset, None, bench.desk, 4)
    name = client.post(f"{API}/generate", json={"counts": {"rust": 1}}).json()["id"]
    assert ended(client, name)["state"] == "done"
    folder = bench.jobs.find(name).folder
    assert folder.is_dir()
    bench.jobs.close()
    assert not folder.exists()


def test_a_job_that_is_cancelled_keeps_what_it_has_made_and_can_be_gone_on_with(serve):
    client = serve()
    order = {"counts": {"rust": 30}, "seed": 0}
    name = client.post(f"{API}/generate", json=order).json()["id"]
    while not client.get(f"{API}/jobs/{name}").json()["done"]:
        time.sleep(0.01)
    assert client.delete(f"{API}/jobs/{name}").status_code == 200
    job = ended(client, name)
    assert job["state"] == "cancelled"
    assert 0 < job["done"] < 30
    again = client.post(f"{API}/generate", json={**order, "counts": {"rust": job["done"] + 1}})
    more = ended(client, again.json()["id"])
    assert (more["done"], more["total"], len(more["pairs"])) == (job["done"] + 1, job["done"] + 1, 1)


def test_a_job_that_waits_is_cancelled_without_a_pair(serve):
    client = serve()
    first = client.post(f"{API}/generate", json={"counts": {"rust": 3}}).json()["id"]
    second = client.post(f"{API}/generate", json={"counts": {"scratch": 3}}).json()["id"]
    assert client.delete(f"{API}/jobs/{second}").json()["state"] in ("cancelled", "waiting")
    ended(client, first)
    assert ended(client, second)["done"] == 0


def test_a_job_that_cannot_be_done_says_why(serve):
    client = serve()
    for seed in (0, 1):  # the folder holds pairs of one seed
        name = client.post(f"{API}/generate", json={"counts": {"rust": 1}, "seed": seed}).json()["id"]
        job = ended(client, name)
    assert job["state"] == "failed"
    assert "another run" in job["error"]


@pytest.mark.parametrize(
    "order",
    [
        {"counts": {}},
        {"counts": {"rust": 0}},
        {"counts": {"rust": 10**6}},
        {"counts": {"rust": 1.5}},
        {"counts": {"rust": 1}, "seed": -1},
        {"counts": {"rust": 1}, "out": "elsewhere"},
        [],
    ],
)
def test_orders_that_make_no_sense_are_refused(serve, order):
    assert serve().post(f"{API}/generate", json=order).status_code == 422


def test_a_type_that_was_not_learned_is_refused(serve):
    answer = serve().post(f"{API}/generate", json={"counts": {"../x": 1}})
    assert answer.status_code == 400
    assert "../x" in answer.json()["error"]


def test_without_a_generator_there_are_no_jobs(serve):
    client = serve(bare=True)
    assert client.post(f"{API}/generate", json={"counts": {"rust": 1}}).status_code == 404
    assert client.get(f"{API}/jobs").json() == []
    assert client.get(f"{API}/jobs/x").status_code == 404


def test_only_so_many_jobs_are_remembered(serve):
    client = serve(jobs=2)
    names = []
    for count in (1, 2, 3):
        names.append(client.post(f"{API}/generate", json={"counts": {"rust": count}}).json()["id"])
        ended(client, names[-1])
    assert [job["id"] for job in client.get(f"{API}/jobs").json()] == names[1:]
    assert client.get(f"{API}/jobs/{names[0]}").status_code == 404


def test_too_many_jobs_that_wait_are_refused(serve):
    client = serve()
    free = threading.Event()
    client.bench.desk.begin(free.wait)
    codes = {
        client.post(f"{API}/generate", json={"counts": {"rust": 1}}).status_code for _ in range(20)
    }
    free.set()
    assert codes == {202, 429}


def test_a_job_that_was_cancelled_while_it_waited_leaves_its_place_to_another(serve):
    client = serve()
    free = threading.Event()
    client.bench.desk.begin(free.wait)
    for _ in range(20):
        begun = client.post(f"{API}/generate", json={"counts": {"rust": 1}})
        assert begun.status_code == 202
        assert client.delete(f"{API}/jobs/{begun.json()['id']}").json()["state"] == "cancelled"
    free.set()
