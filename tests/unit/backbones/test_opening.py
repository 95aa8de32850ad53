import logging
import shutil
import socket

import huggingface_hub
import pytest
import torch

from blemish.backbones import opening
from blemish.backbones.opening import PUBLISHED, SHELF, find, open_backbone
from blemish.errors import DependencyError
from tiny_backbones import write_ldm, write_stable

LDM = "CompVis/ldm-text2im-large-256"
CPU = {"device": torch.device("cpu"), "dtype": torch.float32}


@pytest.fixture(autouse=True)
def attempts(monkeypatch, tmp_path):
    """Every attempt to reach the network, which fails; and an empty cache of the hub."""
    made = []

    def refuse(*address):
        made.append(address)
        raise OSError("there is no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(SHELF, raising=False)
    return made


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the hub was asked for; it answers with an empty folder."""
    requests = []

    def answer(name, **options):
        requests.append((name, options))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer)
    return requests


@pytest.mark.parametrize("write", [write_ldm, write_stable], ids=["ldm", "stable"])
def test_a_folder_opens_without_the_network(tmp_path, write, attempts):
    backbone = open_backbone(str(write(tmp_path / "here")), **CPU)
    assert backbone.context(None, 1).tokens.isfinite().all()
    assert not attempts


@pytest.mark.parametrize("place", [LDM, "ldm-text2im-large-256"])
def test_a_name_is_found_on_the_shelf(tmp_path, monkeypatch, place):
    (tmp_path / place).mkdir(parents=True)
    monkeypatch.setenv(SHELF, str(tmp_path))
    assert find(LDM) == tmp_path / place


def test_the_shelf_comes_before_the_cache_and_a_folder_before_both(tmp_path, monkeypatch, asked):
    for place in (tmp_path / "shelf" / LDM, tmp_path / "here" / LDM):
        place.mkdir(parents=True)
    assert find(LDM) == tmp_path
    monkeypatch.setenv(SHELF, str(tmp_path / "shelf"))
    assert find(LDM) == tmp_path / "shelf" / LDM
    monkeypatch.chdir(tmp_path / "here")
    assert find(LDM).absolute() == tmp_path / "here" / LDM
    assert len(asked) == 1


def test_the_pinned_commit_is_found_in_the_cache_and_its_licence_is_told(
    tmp_path, monkeypatch, caplog, attempts
):
    commits = tmp_path / "cache" / "models--CompVis--ldm-text2im-large-256" / "snapshots"
    write_ldm(commits / PUBLISHED[LDM].revision)
    monkeypatch.setattr(opening.logger, "propagate", True)
    with caplog.at_level(logging.INFO, logger="blemish"):
        assert open_backbone(LDM, **CPU).stride == 8
    assert "Apache-2.0" in caplog.text
    assert not attempts
    shutil.move(commits / PUBLISHED[LDM].revision, commits / ("0" * 40))
    with pytest.raises(DependencyError):
        find(LDM)


@pytest.mark.parametrize("name", [LDM, "nobody/nothing", "no such folder", "a/b/c"])
def test_what_is_nowhere_is_refused_with_the_places_and_without_the_network(name, attempts):
    with pytest.raises(DependencyError, match=rf"{name} is no folder(.|\n)*hint: .*{SHELF}"):
        find(name)
    assert not attempts


def test_the_hub_is_asked_only_when_told_to(asked):
    find(LDM)
    find(LDM, download=True)
    assert [options["local_files_only"] for _, options in asked] == [True, False]


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_a_published_model_comes_at_the_pinned_commit_with_the_files_it_needs(name, asked):
    find(name, download=True)
    ((asked_name, options),) = asked
    assert (asked_name, options["revision"]) == (name, PUBLISHED[name].revision)
    wanted = {"ldm": "unet/diffusion_pytorch_model.bin", "sta": "text_encoder/model.safetensors"}
    offered = ["unet/config.json", "tokenizer/vocab.txt", "v1.ckpt", "unet/flax_model.msgpack"]
    offered.append(wanted["ldm" if "ldm" in name else "sta"])
    taken = huggingface_hub.utils.filter_repo_objects(offered, allow_patterns=options["allow_patterns"])
    assert list(taken) == [offered[0], offered[1], offered[4]]


def test_a_hub_that_cannot_be_reached_is_told(attempts):
    with pytest.raises(DependencyError, match="the hub did not give it"):
        find("nobody/nothing", download=True)
    assert attempts
