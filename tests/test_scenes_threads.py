"""Threads that run a model: one for each core, each computing alone; what was set before is set again."""

import torch

from msgfm.scenes.threads import model_threads


def test_cores_are_shared_out_and_given_back():
    before = torch.get_num_threads()
    try:
        for cores, threads in ((1, 1), (2, 2), (6, 6), (32, 16)):
            torch.set_num_threads(cores)
            with model_threads("cpu") as given:
                assert (given, torch.get_num_threads()) == (threads, 1)
            assert torch.get_num_threads() == cores
            with model_threads("cuda") as given:
                assert (given, torch.get_num_threads()) == (1, cores)
    finally:
        torch.set_num_threads(before)
