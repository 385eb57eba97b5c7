"""Stands for the package in the layer."""

GREETING = "from the layer"
