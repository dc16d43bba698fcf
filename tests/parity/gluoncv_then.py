"""Runs GluonCV's networks in an environment of their time, imported the ordinary way (gluoncv.torch.model_zoo).

Runs under Python 3.8 as under 3.11, outside this project's environment; imports nothing of it.
    python gluoncv_then.py FOLDER NAME...
FOLDER holds NAME.pth (weights) and NAME.clip.npy (n, 3, 32, size, size); it writes NAME.logits.npy and versions.json.

What is not GluonCV's own, and said here because a parity must hide nothing:
- I3D's constructor downloads an ImageNet ResNet to inflate it. torchvision's constructor is told to leave the download
  out, so an untrained ResNet is inflated. Every one of those weights is then replaced by NAME.pth's, checked by name.
- In Python 3.11 only: torch dropped ``torch._six.int_classes`` after 1.8, and GluonCV's multigrid sampler, which is not
  used here, imports it. It is given back before the import.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision

try:
    from torch._six import int_classes  # noqa: F401
except ImportError:
    import torch._six

    torch._six.int_classes = int

import gluoncv
from gluoncv.torch.engine.config import get_cfg_defaults
from gluoncv.torch.model_zoo import get_model

resnet101 = torchvision.models.resnet101
torchvision.models.resnet101 = lambda **_: resnet101()


def main(folder, names):
    for name in names:
        settings = get_cfg_defaults(name="action_recognition")
        settings.CONFIG.MODEL.NAME = name
        network = get_model(settings)
        network.load_state_dict(torch.load(str(folder / (name + ".pth"))), strict=True)
        network.eval()
        with torch.no_grad():
            logits = network(torch.from_numpy(np.load(str(folder / (name + ".clip.npy")))))
        np.save(str(folder / (name + ".logits.npy")), logits.numpy())
    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "gluoncv": gluoncv.__version__}
    versions["torchvision"] = torchvision.__version__
    (folder / "versions.json").write_text(json.dumps(versions))


main(Path(sys.argv[1]), sys.argv[2:])
