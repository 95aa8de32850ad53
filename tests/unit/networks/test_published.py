from __future__ import annotations

import pickle
import socket

import pytest
import torch
from safetensors.torch import save_file

from blemish.errors import ArtifactError
from blemish.networks.published import SHELF, Published, find_weights, read_weights

NET = Published("Net", ("net.safetensors", "net.pth"), "https://example.org/net.pth")


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    def refuse(*address):
        raise AssertionError(f"asked the network for {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(SHELF, raising=False)


def test_what_is_given_comes_before_the_shelf_and_the_shelf_before_what_pytorch_keeps(
    tmp_path, monkeypatch
):
    given, shelf, kept = (tmp_path / name for name in ("given", "shelf", "hub/checkpoints"))
    for folder in (given, shelf, kept):
        folder.mkdir(parents=True)
        (folder / "net.pth").touch()
    assert find_weights(NET) == kept / "net.pth"
    monkeypatch.setenv(SHELF, str(shelf))
    assert find_weights(NET) == shelf / "net.pth"
    assert find_weights(NET, given) == given / "net.pth"
    (given / "of_another_name.pth").touch()
    assert find_weights(NET, given / "of_another_name.pth") == given / "of_another_name.pth"


def test_of_two_names_the_first_counts(tmp_path):
    for name in reversed(NET.names):
        (tmp_path / name).touch()
    assert find_weights(NET, tmp_path).name == "net.safetensors"


def test_missing_weights_are_named_with_where_to_get_and_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv(SHELF, str(tmp_path / "shelf"))
    with pytest.raises(ArtifactError) as found:
        find_weights(NET)
    for word in ("Net", "net.pth", NET.source, SHELF, str(tmp_path / "shelf")):
        assert word in str(found.value)


def test_a_given_place_without_the_weights_is_an_error_even_with_others_at_hand(tmp_path, monkeypatch):
    (tmp_path / "net.pth").touch()
    monkeypatch.setenv(SHELF, str(tmp_path))
    with pytest.raises(ArtifactError, match="elsewhere"):
        find_weights(NET, tmp_path / "elsewhere")


def test_both_kinds_of_file_give_their_tensors(tmp_path):
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    save_file(tensors, tmp_path / "net.safetensors")
    torch.save(tensors, tmp_path / "net.pth")
    for name in NET.names:
        found = read_weights(tmp_path / name)
        assert found.keys() == tensors.keys()
        assert all(torch.equal(found[k], tensors[k]) for k in tensors)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code of the file was run",))


def test_a_file_with_code_or_of_something_else_is_refused(tmp_path):
    (tmp_path / "code.pth").write_bytes(pickle.dumps({"a": Bomb()}, protocol=2))
    torch.save({"a": Bomb()}, tmp_path / "zip.pth")
    (tmp_path / "text.pth").write_text("no weights")
    (tmp_path / "text.safetensors").write_text("no weights")
    torch.save(torch.ones(3), tmp_path / "tensor.pth")
    for name in ("code.pth", "zip.pth", "text.pth", "text.safetensors", "tensor.pth"):
        with pytest.raises(ArtifactError, match="cannot be read as weights"):
            read_weights(tmp_path / name)
