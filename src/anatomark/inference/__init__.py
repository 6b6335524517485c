"""Inference: files or images in, landmarks with what is known about each out."""

from anatomark.inference.detector import Detector

__all__ = ["Detector"]
