"""Streams of the video peers have the PSNR of the rates that they are compared with."""

import json
import shutil
import subprocess

import pytest

from patchwire_training.comparison import video_peers

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


@pytest.fixture
def video(tmp_path):
    """20 frames of 160x96 pixels at 10 a second."""
    path = tmp_path / "video.avi"
    source = ["-f", "lavfi", "-i", "testsrc2=size=160x96:rate=10:duration=2"]
    subprocess.run(video_peers.ffmpeg(*source, "-c:v", "ffv1", str(path)), check=True)
    return path


def figures(*psnr):
    rates = [{"bits": 64 * (i + 1), "psnr_db": psnr_db} for i, psnr_db in enumerate(psnr)]
    taken = {"filter": "select='lte(n,14)*eq(n,3+floor(selected_n*2))'", "frames": 6}
    return {"images": [{"width": 160, "height": 96}] * 6, "rates": rates, "video": taken}


def test_streams_have_the_psnr_of_their_rates(tmp_path, video):
    wanted = figures(27.2, 32.6, 90)
    video_peers.run(video, wanted, tmp_path / "out")

    rows = json.loads((tmp_path / "out" / "peers.json").read_text())["peers"]
    # No codec has 90 dB.
    assert {(row["codec"], row["bits"]) for row in rows} == {
        (codec.name, bits) for codec in video_peers.CODECS for bits in (64, 128)
    }
    taken = video_peers.Taken.of(video, wanted)
    sizes = {}
    for row in rows:
        stream = tmp_path / "out" / f"{row['codec']}-{row['bits']}.{row['ending']}"
        sizes[row["codec"], row["bits"]] = stream.stat().st_size
        assert abs(taken.psnr(stream) - {64: 27.2, 128: 32.6}[row["bits"]]) <= video_peers.TOLERANCE, row
    assert all(sizes[codec.name, 64] < sizes[codec.name, 128] for codec in video_peers.CODECS)
    # x264 refers to the frame before, motion JPEG does not.
    assert sizes["x264", 128] < sizes["mjpeg", 128] / 2


def test_the_nearest_quality_is_found():
    qualities = range(0, 101)
    for target, expected in ((-5, 0), (0, 0), (41.4, 21), (41.1, 21), (40.9, 20), (500, 100)):
        assert video_peers.nearest(lambda quality: 2 * quality, qualities, target) == expected, target


def test_other_frames_than_the_figures_are_told(tmp_path, video):
    short = figures(30)
    short["video"]["frames"] = 7
    with pytest.raises(SystemExit, match="gives 6 frames, the figures are of 7"):
        video_peers.run(video, short, tmp_path / "out")
    with pytest.raises(SystemExit, match="not of a video"):
        video_peers.run(video, {"images": []}, tmp_path / "out")
