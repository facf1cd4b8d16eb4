"""Labelled texts: strict readers, and the catalog of named data sets."""

from prune_env.data.checks import overlap, require_all_labels
from prune_env.data.dataset import DEFAULT_LABEL_NAMES, Splits, TextDataset
from prune_env.data.images import ImageDataset, read_images
from prune_env.data.library import read_datasets
from prune_env.data.loading import DATASETS, load_data, load_named
from prune_env.data.pairs import text_pair
from prune_env.data.readers import read_table
from prune_env.data.unlabelled import Unlabelled, read_unlabelled

__all__ = [
    "DATASETS",
    "DEFAULT_LABEL_NAMES",
    "ImageDataset",
    "Splits",
    "TextDataset",
    "Unlabelled",
    "load_data",
    "load_named",
    "overlap",
    "read_datasets",
    "read_images",
    "read_table",
    "read_unlabelled",
    "require_all_labels",
    "text_pair",
]
