"""The modules of the study, and their features on every image, extracted once and kept."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from targets import ALL, Target, images

import modtools as mt
from modtools._progress import track
from modtools.modules import efficientnet_lite, image_preprocess, pixels
from modtools.training import networks

HERE = Path(__file__).parent
ZOO_STUDY = HERE.parent / "zoo"
SOURCE_CLASSES = {
    "tops": (0, 2, 4, 6),
    "footwear": (5, 7, 9),
    "others": (1, 3, 8),
    "even": (0, 2, 4, 6, 8),
    "odd": (1, 3, 5, 7, 9),
    "all": ALL,
}
METHODS = ("supcon", "nmse", "end_to_end")
IMAGE_SETS = ("digits", "fashion")
# As in the training of the zoo; images of another size are resized.
PREPROCESS = image_preprocess(size=28, mean=0.286, std=0.353, channels=1)


def trained_names() -> list[str]:
    """Return the modules of the zoo study that are candidates."""
    return [f"{source}-{method}" for source in SOURCE_CLASSES for method in METHODS]


def make_missing(zoo: Path) -> None:
    """Train the modules of the zoo study that are missing, two at a time there."""
    names = trained_names()
    known = mt.Zoo(zoo).names
    if any(name not in known for name in names):
        print("training the modules of case_studies/zoo that are missing", flush=True)
        subprocess.run([sys.executable, str(ZOO_STUDY / "run.py"), "--zoo", str(zoo)], check=True)


def iter_networks(zoo: Path, *, quick: bool) -> Iterator[mt.PretrainedModule]:
    """Yield every network with the layers at which it is read."""
    yield pixels()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        untrained = networks.compact_convnet(10, 1)
    yield mt.PretrainedModule(
        untrained, name="compact-random", layers=["block3", "features"], preprocess=PREPROCESS
    )
    if quick:
        return
    make_missing(zoo)
    modules = mt.Zoo(zoo)
    for name in trained_names():
        yield mt.PretrainedModule(
            modules.load(name).network, name=name, layers="features", preprocess=PREPROCESS
        )
    for version in (0, 1, 2):
        yield efficientnet_lite(version)
    yield efficientnet_lite(0, pretrained=False)


Features = dict[str, NDArray[np.float32]]


def extract_all(
    zoo: Path, cache: Path, image_sets: tuple[str, ...], *, quick: bool
) -> tuple[dict[str, Features], pd.DataFrame]:
    """Return the features of every module on every set of images, and what the modules are."""
    found: dict[str, Features] = {name: {} for name in image_sets}
    facts: list[dict[str, Any]] = []
    for module in track(iter_networks(zoo, quick=quick), "extract", total=24):
        for name, features in found.items():
            extracted = mt.extract(module, images(name), batch_size=128, cache=cache)
            only = module.names[0]
            features |= extracted if isinstance(extracted, dict) else {only: extracted}
        widths = [found[image_sets[0]][name].shape[1] for name in module.names]
        facts += [
            {
                "module": name,
                "parameters": module.n_parameters(layer),
                "depth": depth_of(module, layer),
                "features": width,
                "source": module.name.split("-")[0] if module.name in trained_names() else "",
            }
            for name, layer, width in zip(module.names, module.layers, widths, strict=True)
        ]
    return found, pd.DataFrame(facts)


def depth_of(module: mt.PretrainedModule, layer: str | None) -> int:
    """Return how many layers with weights run before a layer ends."""
    parts = list(module.network.modules())
    if layer is not None:
        inside = {id(part) for part in module.inner_module(layer).modules()}
        parts = parts[: max(i for i, part in enumerate(parts) if id(part) in inside) + 1]
    layers = (torch.nn.Conv2d, torch.nn.Linear)
    return sum(isinstance(part, layers) for part in parts)


def shared_classes(facts: pd.DataFrame, target: Target) -> dict[str, int]:
    """Return how many classes source and target share, for modules whose source is known."""
    known = facts[facts["source"] != ""]
    own = set(target.classes) if target.images == "fashion" else set()
    return {
        module: len(own & set(SOURCE_CLASSES[source]))
        for module, source in zip(known["module"], known["source"], strict=True)
    }
