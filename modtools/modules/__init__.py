"""Pretrained modules: a network read at a layer, with pooling and preprocessing, and features."""

from modtools.modules._cache import Cache as Cache, clear_cache
from modtools.modules._card import (
    CARD as CARD,
    check_fields as check_fields,
    read_card_file as read_card_file,
    write_card as write_card,
)
from modtools.modules._collection import ModuleCollection, ModulesLike as ModulesLike
from modtools.modules._combined import CombinedModule, networks_of as networks_of
from modtools.modules._extraction import (
    Extraction as Extraction,
    extract,
    extract_members as extract_members,
    iter_features,
    run as run,
)
from modtools.modules._forward import ForwardReader as ForwardReader
from modtools.modules._identity import (
    array_digest as array_digest,
    extraction_keys as extraction_keys,
)
from modtools.modules._image_networks import EFFICIENTNET_LITE_LAYERS, efficientnet_lite, pixels
from modtools.modules._module import PretrainedModule, check_module_name as check_module_name
from modtools.modules._module_facts import (
    Costs,
    ForwardOptions as ForwardOptions,
    ModuleFacts,
    check_cost as check_cost,
    check_forward as check_forward,
    milliseconds_per_example,
)
from modtools.modules._preprocessing import (
    ImagePreprocess,
    image_preprocess,
    to_tensor as to_tensor,
)
from modtools.modules._streaming import check_device as check_device
from modtools.modules._text import TextPreprocess, text_module
from modtools.modules._weights import (
    axes_in_memory as axes_in_memory,
    check_files as check_files,
    file_digest as file_digest,
)
from modtools.modules._zoo import UnknownModuleError, Zoo

__all__ = [
    "EFFICIENTNET_LITE_LAYERS",
    "CombinedModule",
    "Costs",
    "ImagePreprocess",
    "ModuleCollection",
    "ModuleFacts",
    "PretrainedModule",
    "TextPreprocess",
    "UnknownModuleError",
    "Zoo",
    "clear_cache",
    "efficientnet_lite",
    "extract",
    "image_preprocess",
    "iter_features",
    "milliseconds_per_example",
    "pixels",
    "text_module",
]
