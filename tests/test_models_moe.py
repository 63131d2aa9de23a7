"""The mixture of experts against plain loops over tokens and experts, and its promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from msgfm.models.mlp import Mlp
from msgfm.models.moe import MoE, MoEConfig, expert_capacity, gshard_loss, load_importance_loss, route
from msgfm.models.swin import EncoderConfig, SwinBlock, SwinEncoder

DIM, HIDDEN, EXPERTS, TOKENS = 6, 10, 4, 41


def make_moe(**settings) -> MoE:
    torch.manual_seed(0)
    moe = MoE(DIM, HIDDEN, MoEConfig.model_validate({"num_experts": EXPERTS, "gate_noise": 0.0} | settings))
    with torch.no_grad():
        moe.router.weight.normal_()
    return moe


def looped(moe: MoE, tokens: Tensor, capacity: float, prioritized: bool) -> tuple[Tensor, set[tuple[int, int]]]:
    """The definition, one token and one choice after the other. Also says which (token, expert) were dropped."""
    k = moe.config.top_k
    scores = (tokens @ moe.router.weight.T).softmax(dim=1)
    order = list(range(len(tokens)))
    if prioritized:
        order.sort(key=lambda t: -scores[t].max().item())
    seats = [capacity] * len(moe.experts)
    output = torch.zeros_like(tokens)
    dropped = set()
    for choice in range(k):
        for t in order:
            best = sorted(range(len(seats)), key=lambda e: -scores[t, e].item())[:k]
            e = best[choice]
            if seats[e] == 0:
                dropped.add((t, e))
                continue
            seats[e] -= 1
            gate = scores[t, e] / (sum(scores[t, other] for other in best) if k > 1 else 1)
            expert = moe.experts[e]
            hidden = F.gelu(tokens[t] @ expert.fc1.weight.T + expert.fc1.bias)
            output[t] = output[t] + gate * (hidden @ expert.fc2.weight.T + expert.fc2.bias)
    return output, dropped


@pytest.mark.parametrize("prioritized", [True, False], ids=["prioritized", "by-position"])
@pytest.mark.parametrize("top_k", [1, 2])
@pytest.mark.parametrize("factor", [None, 1.25, 0.5])
def test_equals_a_loop_over_tokens_and_experts(top_k, factor, prioritized):
    moe = make_moe(top_k=top_k, eval_capacity_factor=factor, batch_prioritized_routing=prioritized).eval()
    tokens = torch.randn(TOKENS, DIM, requires_grad=True)
    output, statistics = moe(tokens)
    capacity = math.inf if factor is None else top_k * int(factor * math.ceil(TOKENS / EXPERTS))
    expected, dropped = looped(moe, tokens, capacity, prioritized)
    torch.testing.assert_close(output, expected)
    assert int(statistics.dropped) == len(dropped)
    assert bool(dropped) == (factor is not None and (factor < 1 or top_k == 1))  # the cases are not all alike
    parameters = [tokens, *moe.parameters()]
    ours = torch.autograd.grad(output.square().sum(), parameters)
    theirs = torch.autograd.grad(expected.square().sum(), parameters)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_priority_decides_who_is_dropped():
    # all want expert 0, which takes two of four
    scores = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.7, 0.3], [0.8, 0.2]])
    assert sorted(route(scores, 1, 2, prioritized=True).token.tolist()) == [1, 3]
    assert sorted(route(scores, 1, 2, prioritized=False).token.tolist()) == [0, 1]
    routing = route(scores, 1, 2, prioritized=True)
    assert routing.wanted.tolist() == [4, 0]
    assert routing.kept.tolist() == [2, 0]
    assert routing.gate.tolist() == pytest.approx([0.9, 0.8])


def test_capacity_is_tutels():
    assert expert_capacity(96, 8, 1, 1.25) == 15
    assert expert_capacity(97, 8, 2, 1.25) == 2 * int(1.25 * 13)


def test_dropped_tokens_pass_through_the_residual():
    config = EncoderConfig(
        embed_dim=8,
        depths=(1,),
        num_heads=(1,),
        window_size=4,
        moe=MoEConfig(stage=0, blocks=(0,), num_experts=2, capacity_factor=0.1, gate_noise=0.0),
    )
    torch.manual_seed(0)
    block = SwinBlock(8, 1, False, 0.0, config, mixture=True).train()
    x = torch.randn(2, 8, 8, 8)
    output, statistics = block(x)
    before_mixture = x + block.attn(block.norm1(x))
    passed = (output == before_mixture).all(dim=-1)
    assert int(statistics.dropped) == int(passed.sum()) == 128 - 2 * int(0.1 * 64)


def test_all_tokens_kept_in_evaluation_and_images_do_not_depend_on_their_batch():
    torch.manual_seed(0)
    encoder = SwinEncoder(EncoderConfig.model_validate("tiny")).eval()
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, MoE):
                module.router.weight.normal_()
    first, others = torch.randn(1, 16, 16, 32), torch.randn(7, 16, 16, 32)
    together, alone = encoder(torch.cat([first, others])), encoder(first)
    assert [int(mixture.dropped) for mixture in together.mixtures] == [0]
    for a, b in zip(together.features, alone.features, strict=True):
        torch.testing.assert_close(a[:1], b, rtol=1e-5, atol=1e-5)


def normal_cdf(x: np.ndarray) -> np.ndarray:
    return np.vectorize(lambda value: 0.5 * math.erfc(-value / math.sqrt(2)))(x)


@pytest.mark.parametrize("top_k", [1, 2])
def test_load_importance_loss_is_that_of_riquelme_et_al(top_k):
    """Appendix A.2 of arXiv 2106.05974 in numpy, float64. The variance is torch's (n - 1), as in Tutel."""
    rng = np.random.default_rng(0)
    std = 1 / EXPERTS
    logits = rng.normal(size=(TOKENS, EXPERTS))
    noisy = logits + std * rng.normal(size=logits.shape)
    gates = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    importance = gates.sum(axis=0)
    # the k-th largest noisy logit is what an expert's logit must exceed with a new draw of its noise
    threshold = np.sort(noisy, axis=1)[:, -top_k, None]
    load = (1 - normal_cdf((threshold - logits) / std)).sum(axis=0)
    expected = sum((x.std(ddof=1) / x.mean()) ** 2 for x in (importance, load)) / 2
    ours = load_importance_loss(torch.tensor(logits), torch.tensor(noisy), top_k, std)
    assert ours.item() == pytest.approx(expected, rel=1e-9)


def test_load_importance_loss_without_noise_is_importance_alone():
    logits = torch.randn(TOKENS, EXPERTS, dtype=torch.float64)
    importance = logits.softmax(dim=1).sum(dim=0).numpy()
    expected = (importance.std(ddof=1) / importance.mean()) ** 2
    assert load_importance_loss(logits, logits, 1, 0.0).item() == pytest.approx(expected, rel=1e-9)


def test_gshard_loss():
    scores = torch.randn(TOKENS, EXPERTS, dtype=torch.float64).softmax(dim=1)
    expected = 0.0
    for e in range(EXPERTS):
        first = sum(int(row.argmax()) == e for row in scores) / TOKENS
        expected += EXPERTS * first * sum(float(row[e]) for row in scores) / TOKENS
    assert gshard_loss(scores).item() == pytest.approx(expected, rel=1e-6)
    balanced = torch.eye(EXPERTS).repeat(3, 1)
    assert gshard_loss(balanced).item() == pytest.approx(1.0)


@pytest.mark.parametrize("loss", ["gshard", "load_importance"])
def test_auxiliary_loss_spreads_the_tokens(loss):
    moe = make_moe(auxiliary_loss=loss, gate_noise=1.0, capacity_factor=4.0).train()
    tokens = torch.randn(256, DIM) + 1.0
    optimizer = torch.optim.SGD([moe.router.weight], lr=0.3)
    loads = []
    for _ in range(60):
        optimizer.zero_grad()
        statistics = moe(tokens)[1]
        statistics.auxiliary.backward()
        optimizer.step()
        loads.append(statistics.load.max().item() / 256)
    assert loads[-1] < 0.45 < loads[0]  # 0.25 is even


def test_noise_only_in_training():
    moe = make_moe(gate_noise=1.0, capacity_factor=4.0)
    tokens = torch.randn(TOKENS, DIM)
    assert not torch.equal(moe.train()(tokens)[0], moe(tokens)[0])
    assert torch.equal(moe.eval()(tokens)[0], moe(tokens)[0])


@pytest.mark.parametrize("loss", ["gshard", "load_importance"])
def test_router_stays_float32_under_autocast(loss):
    moe = make_moe(gate_noise=1.0, auxiliary_loss=loss).train()
    tokens = torch.randn(TOKENS, DIM)
    torch.manual_seed(1)
    plain = moe(tokens)[1]
    torch.manual_seed(1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output, statistics = moe(tokens)
    assert statistics.auxiliary.dtype == torch.float32
    assert torch.equal(statistics.auxiliary, plain.auxiliary)  # bfloat16 would differ in the third digit
    assert torch.equal(statistics.load, plain.load)
    expected = moe.eval()(tokens)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = moe(tokens)[0]
    assert (output - expected).abs().max() < 0.02 * expected.abs().max()


def test_expert_without_tokens():
    moe = make_moe().eval()
    with torch.no_grad():
        moe.router.weight.zero_()
        moe.router.weight[2] = 1.0
    tokens = torch.rand(TOKENS, DIM)  # positive: all prefer expert 2
    output, statistics = moe(tokens)
    output.sum().backward()
    assert statistics.load.tolist() == [0, 0, TOKENS, 0]
    assert moe.experts[0].fc1.weight.grad is not None  # DDP waits for every parameter
    assert moe.experts[0].fc1.weight.grad.abs().max() == 0


def test_more_choices_than_experts_is_refused():
    with pytest.raises(ValueError, match="top_k 5"):
        make_moe(top_k=5)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")
def test_experts_leave_nothing_behind_for_each_number_of_tokens(capfd: pytest.CaptureFixture[str]) -> None:
    """oneDNN keeps a program for every shape; the memory of a training run grew by it."""

    def programs(function) -> int:
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON_CREATION):
            for tokens in range(2, 8):
                function(torch.randn(tokens, DIM, requires_grad=True)).sum().backward()
        return capfd.readouterr().out.count("eltwise")

    assert programs(F.gelu) >= 6  # else oneDNN has changed, and this test sees nothing
    assert programs(Mlp(DIM, HIDDEN)) == 0
