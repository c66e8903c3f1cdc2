"""Other codecs and engines beside ours."""
