"""The commands that make the shipped models."""
