"""Labeled images, and the batches that every backend gets alike, to the bit."""

from densenet_tools.data.augmentation import Augmentation as Augmentation
from densenet_tools.data.batching import (
    Batch as Batch,
    batches as batches,
    check_padding as check_padding,
    count_batches as count_batches,
)
from densenet_tools.data.dataset import (
    Dataset as Dataset,
    ImageArray as ImageArray,
    ImageFiles as ImageFiles,
    Splits as Splits,
)
from densenet_tools.data.draws import epoch_order as epoch_order, held_out as held_out
from densenet_tools.data.fashion import fashion_mnist as fashion_mnist
from densenet_tools.data.folders import image_folder as image_folder
from densenet_tools.data.sources import open_data as open_data, preprocessing_for as preprocessing_for
