"""A number format is ruled out by its speed here, not by a list of processors."""

import time

import pytest
import torch
from torch import nn

from foveal.machine import instruction_flags
from foveal.networks.catalogue import build
from foveal.training import probe

LIMITED = any(name in __import__("os").environ for name in ("ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY"))


def after(seconds):
    def busy():
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    return busy


def test_a_format_about_as_fast_stays_and_a_slower_one_goes():
    assert probe._at_least_as_fast(after(0.002), after(0.004))
    assert not probe._at_least_as_fast(after(0.008), after(0.002))


def test_a_hopeless_format_is_not_asked_often():
    calls = []
    assert not probe._at_least_as_fast(lambda: calls.append(after(0.03)()), after(0.001))
    assert len(calls) == 3  # one to prepare, one that may have been disturbed, one more


def test_the_network_s_own_kind_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(probe, "convolves_faster", lambda *shape: asked.append(shape) or True)
    assert probe.rival_format(build("mobilenet_v2", 10, 3, (64, 64)), "cpu") == "bf16"
    assert probe.rival_format(nn.Linear(3, 4), "cpu") == "bf16"
    assert asked == [("bf16", 576, 160, 1), ("bf16", 64, 64, 3)]


def test_one_thread_is_asked_and_the_others_come_back(monkeypatch):
    seen = []
    torch.set_num_threads(2)
    probe._at_least_as_fast(lambda: seen.append(torch.get_num_threads()), lambda: None)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.skipif("avx512_bf16" not in instruction_flags() or LIMITED, reason="no bf16 instructions are used here")
def test_a_processor_with_bf16_keeps_it():
    assert probe.convolves_faster("bf16", 128, 128, 3)
    assert probe.multiplies_faster("bf16", 256, 2304)


@pytest.mark.skipif("avx2" not in instruction_flags(), reason="no processor with AVX2, as bf16 emulated needs here")
def test_a_processor_that_plays_a_smaller_one_is_judged_by_its_speed(tmp_path):
    import os
    import subprocess
    import sys

    words = "from foveal.training.probe import *; print(convolves_faster('bf16', 128, 128, 3))"
    small = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    done = subprocess.run([sys.executable, "-c", words], env={**os.environ, **small}, capture_output=True, text=True,
                          cwd=tmp_path, timeout=120, check=True)  # fmt: skip
    assert done.stdout.strip() == "False"


def test_the_rate_of_a_convolution_counts_three_passes():
    assert probe.convolution_rate("fp32", 16, 16, 3, 16) > 1e6
