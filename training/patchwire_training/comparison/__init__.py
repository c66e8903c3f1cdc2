"""Comparisons with other codecs and engines."""
