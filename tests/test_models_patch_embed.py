"""The paper's patch embedding: two convolutions, done as one."""

import pytest
import torch

from msgfm.models.patch_embed import ConvPatchEmbed


@pytest.mark.parametrize(("patch", "height", "width"), [(4, 24, 16), (2, 6, 10), (1, 5, 7)])
def test_one_convolution_is_one_after_the_other(patch: int, height: int, width: int) -> None:
    torch.manual_seed(0)
    embedding = ConvPatchEmbed(in_chans=3, embed_dim=8, patch_size=patch, conv_channels=5).double()
    image = torch.randn(2, 3, height, width, dtype=torch.float64, requires_grad=True)
    twice = embedding.norm(embedding.proj(embedding.conv(image)).permute(0, 2, 3, 1))
    torch.testing.assert_close(embedding(image), twice)
    wanted = [image, embedding.conv.weight, embedding.conv.bias, embedding.proj.weight, embedding.proj.bias]
    ours, theirs = (torch.autograd.grad(tokens.square().sum(), wanted) for tokens in (embedding(image), twice))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)
