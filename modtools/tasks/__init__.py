"""Labelled tasks: inputs with labels, loading them from files, and splitting them."""

from modtools.tasks._fashion_mnist import has_fashion_mnist as has_fashion_mnist
from modtools.tasks._labels import Kind, Labels, encode_labels
from modtools.tasks._load import load_task
from modtools.tasks._task import Task, group_codes as group_codes

__all__ = ["Kind", "Labels", "Task", "encode_labels", "load_task"]
