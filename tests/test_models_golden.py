"""Against the numbers of two public implementations: SimMIM's Swin, and Tutel's mixture of experts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from msgfm.models.moe import MoE, MoEConfig
from msgfm.models.msgfm import MsGFM, MsGFMConfig
from msgfm.models.patch_embed import PatchEmbedConfig
from msgfm.models.swin import EncoderConfig
from msgfm.sensors import load_sensor

GOLDEN = Path(os.environ.get("MSGFM_GOLDEN", Path(__file__).parents[2] / "shared" / "golden"))


def load_golden(name: str) -> dict[str, Tensor]:
    path = GOLDEN / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"no golden file {path}; set MSGFM_GOLDEN=FOLDER")
    with safe_open(path, "pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict


def part(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in golden.items() if key.startswith(prefix)}


def simmim_name(name: str) -> str:
    """The name that SimMIM gives to a parameter of ours."""
    if name.startswith("decoders.rgb.proj."):
        return name.replace("decoders.rgb.proj", "decoder.0")
    name = name.removeprefix("encoder.").replace("patch_embed.rgb", "patch_embed")
    if ".downsample." in name:  # SimMIM merges at the end of a stage, we at the start of the next
        _, stage, rest = name.split(".", 2)
        name = f"layers.{int(stage) - 1}.{rest}"
    return f"encoder.{name}"


def golden_simmim_model(golden: dict[str, Tensor]) -> MsGFM:
    encoder = EncoderConfig(embed_dim=16, depths=(2, 2, 4, 2), num_heads=(1, 2, 4, 8), window_size=6, moe=None)
    config = MsGFMConfig(sensors=(load_sensor("rgb"),), encoder=encoder, patch_embed=PatchEmbedConfig(kind="strided"))
    model = MsGFM(config)
    weights = part(golden, "weight.")
    mapped = {name: weights.pop(simmim_name(name)).view(p.shape) for name, p in model.named_parameters()}
    assert not weights, f"unused: {list(weights)}"
    model.load_state_dict(mapped)
    for buffer, value in (("mean", 0.0), ("std", 1.0)):  # the golden image is normalised already
        getattr(model.normalize["rgb"], buffer).fill_(value)
    return model.train()


def test_simmim_golden():
    golden = load_golden("simmim_swin_tiny_a")
    model = golden_simmim_model(golden)
    image, tokens_hidden = golden["input.image"], golden["input.mask"].bool()
    hidden = tokens_hidden[:, ::8, ::8]  # 32 px squares of 4 px tokens
    assert torch.equal(hidden.repeat_interleave(8, 1).repeat_interleave(8, 2), tokens_hidden)

    pixels = tokens_hidden.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, None]
    latent = model.encoder(model.embed("rgb", image, hidden, pixels)).features[-1]
    torch.testing.assert_close(latent.permute(0, 3, 1, 2), golden["output.latent"], rtol=0, atol=1e-4)
    torch.testing.assert_close(model.decoders["rgb"](latent), golden["output.reconstruction"], rtol=0, atol=1e-4)

    output = model({"rgb": image}, {"rgb": hidden}, {"rgb": torch.zeros(2, dtype=torch.long)})
    torch.testing.assert_close(output.loss.view(1), golden["output.loss"], rtol=0, atol=1e-4)
    output.loss.backward()
    expected = part(golden, "grad.")
    for name, parameter in model.named_parameters():
        theirs = expected.get(simmim_name(name))  # the golden file has none for the decoder
        if theirs is not None:
            torch.testing.assert_close(
                parameter.grad, theirs.view(parameter.shape), rtol=1e-3, atol=1e-13 + 1e-4 * theirs.abs().max().item()
            )
    assert {simmim_name(name) for name, _ in model.named_parameters()} >= set(expected)


def golden_moe(golden: dict[str, Tensor], capacity_factor: float, prioritized: bool) -> MoE:
    router, fc1 = golden["weight.gates.0.wg.weight"], golden["weight.experts.batched_fc1_w"]
    num_experts, hidden, dim = fc1.shape
    config = MoEConfig(
        num_experts=num_experts,
        eval_capacity_factor=capacity_factor,
        batch_prioritized_routing=prioritized,
        auxiliary_loss="gshard",
    )
    moe = MoE(dim, hidden, config).eval()
    state = {"router.weight": router}
    for e in range(num_experts):
        state[f"experts.{e}.fc1.weight"] = fc1[e]
        state[f"experts.{e}.fc1.bias"] = golden["weight.experts.batched_fc1_bias"][e]
        state[f"experts.{e}.fc2.weight"] = golden["weight.experts.batched_fc2_w"][e].T
        state[f"experts.{e}.fc2.bias"] = golden["weight.experts.batched_fc2_bias"][e]
    moe.load_state_dict(state)
    return moe


@pytest.mark.parametrize(
    ("name", "capacity_factor", "prioritized", "dropped"),
    [
        pytest.param("tutel_moe_a", 1.25, True, 4, id="prioritized"),
        pytest.param("tutel_moe_b", 1.0, False, 10, id="by-position"),
    ],
)
def test_tutel_golden(name, capacity_factor, prioritized, dropped):
    golden = load_golden(name)
    moe = golden_moe(golden, capacity_factor, prioritized)
    tokens = golden["input.tokens"].clone().requires_grad_()
    output, statistics = moe(tokens)

    def close(ours: Tensor, theirs: Tensor) -> None:
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)

    close(output, golden["output.tokens"])
    close(statistics.auxiliary.view(1), golden["output.aux_loss"])
    theirs_dropped = (golden["output.tokens"] == 0).all(dim=1)
    assert torch.equal((output == 0).all(dim=1), theirs_dropped)
    assert int(statistics.dropped) == int(theirs_dropped.sum()) == dropped

    (output.square().mean() + 0.01 * statistics.auxiliary).backward()
    close(tokens.grad, golden["grad.input.tokens"])
    close(moe.router.weight.grad, golden["grad.gates.0.wg.weight"])
    for e, expert in enumerate(moe.experts):
        close(expert.fc1.weight.grad, golden["grad.experts.batched_fc1_w"][e])
        close(expert.fc1.bias.grad, golden["grad.experts.batched_fc1_bias"][e])
        close(expert.fc2.weight.grad, golden["grad.experts.batched_fc2_w"][e].T)
        close(expert.fc2.bias.grad, golden["grad.experts.batched_fc2_bias"][e])
