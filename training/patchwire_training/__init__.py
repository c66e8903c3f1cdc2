"""Quantization-aware training for the 1-megabit encoder ASIC, and its full-frame decoder."""
