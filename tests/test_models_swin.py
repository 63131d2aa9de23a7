"""The encoder: equal to timm's Swin, and what is its own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn

from msgfm.models.msgfm import MsGFM, MsGFMConfig
from msgfm.models.patch_embed import PatchEmbedConfig
from msgfm.models.swin import EncoderConfig, SwinEncoder, drop_path
from msgfm.models.window import (
    WindowAttention,
    fused_attention,
    merge_windows,
    partition_windows,
    plain_attention,
    relative_position_index,
    shifted_window_mask,
)
from msgfm.sensors import load_sensor


def dense(**settings) -> EncoderConfig:
    return EncoderConfig.model_validate({"moe": None} | settings)


SMALL = {"embed_dim": 16, "depths": (2, 2, 4, 2), "num_heads": (1, 2, 4, 8), "window_size": 6}


def timm_pair(height: int, width: int, window: int) -> tuple[SwinEncoder, SwinTransformer]:
    """Our encoder and timm's with the same weights, on a token grid of height x width."""
    torch.manual_seed(0)
    settings = SMALL | {"window_size": window}
    ours = SwinEncoder(dense(**settings))
    for parameter in ours.parameters():  # biases and norms too: zeros and ones would hide a mix-up
        nn.init.normal_(parameter, std=0.2)
    reference = SwinTransformer(img_size=(4 * height, 4 * width), num_classes=0, drop_path_rate=0.0, **settings)
    state = ours.state_dict()
    for layer, stage in enumerate(reference.layers):
        for index, block in enumerate(stage.blocks):  # where the map is smaller than a window, timm's table is smaller
            name = f"layers.{layer}.blocks.{index}.attn.relative_position_bias_table"
            wh, ww = block.window_size
            table = state[name].view(2 * window - 1, 2 * window - 1, -1)
            state[name] = table[window - wh : window + wh - 1, window - ww : window + ww - 1].reshape(
                -1, table.shape[2]
            )
    missing, unexpected = reference.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith("patch_embed.") for name in missing)
    return ours.eval(), reference.eval()


@pytest.mark.parametrize(
    ("height", "width", "window"),
    [
        pytest.param(48, 48, 6, id="192px-window6"),
        pytest.param(56, 56, 7, id="224px-window7"),
        pytest.param(48, 24, 6, id="not-square"),
        pytest.param(24, 24, 6, id="map-smaller-than-window"),
        pytest.param(24, 96, 6, id="map-smaller-than-window-on-one-side"),
    ],
)
def test_encoder_equals_timm(height, width, window):
    ours, reference = timm_pair(height, width, window)
    tokens = torch.randn(2, height, width, 16)
    with torch.no_grad():
        expected = reference.norm(reference.layers(tokens))
        torch.testing.assert_close(ours(tokens).features[-1], expected, rtol=0, atol=1e-5)


def test_gradients_equal_timm():
    ours, reference = timm_pair(48, 48, 6)
    tokens = torch.randn(1, 48, 48, 16)
    ours(tokens).features[-1].square().mean().backward()
    reference.norm(reference.layers(tokens)).square().mean().backward()
    expected = dict(reference.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-5)


def attention_by_definition(attention: WindowAttention, x: Tensor) -> Tensor:
    """Every token against every other of the padded map, allowed where both lie in one shifted window."""
    _, h, w, c = x.shape
    window = attention.window_size
    # a side that fits into one window is one window
    sides = [min(window, side) for side in (h, w)]
    shifts = [window // 2 if attention.shifted and side > window else 0 for side in (h, w)]
    x = F.pad(x, (0, 0, 0, -w % sides[1], 0, -h % sides[0]))
    position = [axis.flatten() for axis in torch.meshgrid(*map(torch.arange, x.shape[1:3]), indexing="ij")]
    allowed, row = torch.tensor(True), torch.tensor(0)
    for axis, side, shift in zip(position, sides, shifts, strict=True):
        which = torch.div(axis - shift, side, rounding_mode="floor")
        allowed = allowed & (which[:, None] == which[None])
        row = row * (2 * window - 1) + (axis[:, None] - axis[None]).clamp(1 - window, window - 1) + window - 1
    q, k, v = attention.qkv(x).view(len(x), len(row), 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    logits = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + attention.relative_position_bias_table[row].permute(
        2, 0, 1
    )
    attended = logits.masked_fill(~allowed, -torch.inf).softmax(dim=-1) @ v
    return attention.proj(attended.transpose(1, 2).reshape(x.shape[0], x.shape[1], x.shape[2], c))[:, :h, :w]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(("h", "w"), [(12, 12), (10, 10), (8, 13), (5, 5), (4, 16), (2, 8), (7, 6)])
def test_window_attention_of_any_size(h, w, shifted):
    """timm shifts before it pads, and so lets tokens of opposite edges meet; Swin's own code pads first, as we do."""
    torch.manual_seed(0)
    attention = WindowAttention(16, 2, window_size=6, shifted=shifted)
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, h, w, 16)
    torch.testing.assert_close(attention(x), attention_by_definition(attention, x), rtol=1e-4, atol=1e-5)


def test_bfloat16_is_close_to_float32():
    """Under autocast the attention takes other kernels; they must compute the same."""
    torch.manual_seed(0)
    encoder = SwinEncoder(dense(**SMALL))
    tokens = torch.randn(2, 24, 24, 16)
    with torch.no_grad():
        expected = encoder(tokens).features[-1]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features = encoder(tokens).features[-1]
    assert (features - expected).abs().mean() < 0.02 * expected.abs().mean()


@pytest.mark.parametrize("windows", [1, 4])
def test_fused_and_plain_attention_agree(windows):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 2, 9, 8, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(windows, 2, 9, 9, dtype=torch.float64, requires_grad=True)
    results = []
    for attention in (fused_attention, plain_attention):
        attended = attention(q, k, v, bias)
        results.append((attended, *torch.autograd.grad(attended.square().sum(), (q, k, v, bias))))
    torch.testing.assert_close(*results)


@pytest.mark.gpu
def test_encoder_on_the_gpu():
    torch.manual_seed(0)
    encoder = SwinEncoder(EncoderConfig.model_validate("tiny")).eval()
    tokens = torch.randn(2, 24, 16, 32)
    expected = encoder(tokens).features
    for a, b in zip(encoder.cuda()(tokens.cuda()).features, expected, strict=True):
        torch.testing.assert_close(a.cpu(), b, rtol=1e-3, atol=1e-3)


def test_windows_round_trip():
    x = torch.randn(2, 12, 8, 3, 5)
    windows = partition_windows(x, (6, 4))
    assert windows.shape == (2, 4, 3, 24, 5)
    assert torch.equal(windows[1, 1, 2, 4 * 2 + 3], x[1, 2, 4 + 3, 2])  # second window, row 2, column 3
    assert torch.equal(merge_windows(windows, (6, 4), 12, 8), x.flatten(3))


def test_relative_position_index_of_a_smaller_window_means_the_same_offsets():
    full, small = (
        relative_position_index(5, (5, 5)).view(5, 5, 5, 5),
        relative_position_index(5, (2, 3)).view(2, 3, 2, 3),
    )
    assert torch.equal(small, full[:2, :3, :2, :3])
    assert full.unique().numel() == 81


def test_a_model_that_was_used_in_inference_mode_can_be_trained_afterwards():
    relative_position_index.cache_clear()
    shifted_window_mask.cache_clear()
    attention = WindowAttention(8, 2, window_size=4, shifted=True)
    tokens = torch.randn(1, 8, 8, 8)
    with torch.inference_mode():
        attention(tokens)
    attention(tokens).sum().backward()
    assert attention.relative_position_bias_table.grad is not None


def test_shifted_mask_keeps_apart_what_was_not_adjacent():
    h, w, size, shift = 12, 12, (6, 6), (3, 3)
    mask = shifted_window_mask(h, w, size, shift)[:, 0]
    ys, xs = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    where = torch.stack([ys, xs], -1).roll((-3, -3), (0, 1))  # original position of each token after the shift
    where = where.view(2, 6, 2, 6, 2).transpose(1, 2).reshape(4, 36, 2)
    distance = (where[:, :, None] - where[:, None]).abs().amax(-1)
    assert torch.equal(mask == 0, distance < 6)  # in one window: closer than a window along both axes


@pytest.mark.parametrize(
    "moe", [pytest.param(None, id="dense"), pytest.param({"stage": 2, "blocks": [1, 3]}, id="MoE")]
)
def test_checkpointing_gives_the_same_gradients(moe):
    torch.manual_seed(0)
    encoder = SwinEncoder(EncoderConfig.model_validate(SMALL | {"moe": moe, "drop_path_rate": 0.2})).train()
    tokens = torch.randn(2, 24, 24, 16)

    def gradients(recompute: bool) -> list[Tensor]:
        encoder.zero_grad()
        encoder.set_grad_checkpointing(recompute)
        torch.manual_seed(1)  # gate noise and stochastic depth
        output = encoder(tokens)
        loss = output.features[-1].square().mean() + sum(mixture.auxiliary for mixture in output.mixtures)
        loss.backward()
        return [p.grad.clone() for p in encoder.parameters()]

    kept, recomputed = gradients(False), gradients(True)
    for a, b in zip(kept, recomputed, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-7)


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    dropped = drop_path(torch.ones(20000, 3, 2), 0.3, training=True)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    assert (dropped == dropped[:, :1, :1]).all()
    assert dropped.mean() == pytest.approx(1.0, abs=0.02)  # standard error 0.005
    x = torch.randn(4, 3)
    assert torch.equal(drop_path(x, 0.3, training=False), x)


def test_stochastic_depth_grows_linearly():
    encoder = SwinEncoder(dense(**SMALL, drop_path_rate=0.9))
    rates = [block.drop_path_rate for layer in encoder.layers for block in layer.blocks]
    assert rates == pytest.approx([0.1 * i for i in range(10)])


@pytest.mark.parametrize(
    ("moe", "millions"), [pytest.param(None, 89.87, id="dense"), pytest.param({}, 222.2, id="MoE")]
)
def test_parameter_count_of_the_paper(moe, millions):
    encoder = EncoderConfig.model_validate({"preset": "base", "moe": moe})
    strided = PatchEmbedConfig(kind="strided")
    with torch.device("meta"):
        model = MsGFM(MsGFMConfig(sensors=(load_sensor("rgb"),), encoder=encoder, patch_embed=strided))
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(millions, abs=0.05 if moe is not None else 0.005)
    # what one token passes through: the dense model and the routers (9 x 8 x 512)
    assert count - model.expert_parameters / 1e6 == pytest.approx(
        89.87 + (0.036864 if moe is not None else 0), abs=0.005
    )


def test_presets_build_and_can_be_changed():
    for preset in ("base", "small", "tiny"):
        with torch.device("meta"):
            SwinEncoder(EncoderConfig.model_validate(preset))
    changed = EncoderConfig.model_validate({"preset": "tiny", "moe": {"top_k": 2}})
    assert (changed.embed_dim, changed.moe.top_k, changed.moe.num_experts) == (32, 2, 4)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"preset": "huge"}, "huge"),
        ({"num_heads": (4, 8)}, "one entry per stage"),
        ({"num_heads": (3, 8, 16, 32)}, "3 heads"),
        ({"moe": {"blocks": (18,)}}, "18"),
    ],
)
def test_impossible_encoder_is_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        EncoderConfig.model_validate(settings)


def test_token_grid_that_cannot_be_halved_is_refused():
    with pytest.raises(ValueError, match="12 x 8"):
        SwinEncoder(dense(**SMALL))(torch.zeros(1, 12, 8, 16))
