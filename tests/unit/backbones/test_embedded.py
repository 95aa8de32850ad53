import numpy as np
import pytest
import torch

from blemish.backbones.embedded import PixelCodec
from blemish.randomness import generator


def pictures(count=2, size=32, *, scale=1.0):
    return scale * torch.rand(count, 3, size, size, generator=generator(0, "pictures"))


@pytest.fixture
def codec():
    codec = PixelCodec(32, 4)
    codec.standardise(list(pictures(scale=0.3)))
    return codec


def test_a_picture_comes_back_from_its_latents(codec):
    latent = codec.encode(pictures())
    assert latent.shape == (2, codec.channels, 8, 8)
    torch.testing.assert_close(codec.decode(latent), pictures(), rtol=0, atol=1e-6)


def test_a_grey_level_comes_back_as_that_grey_level(codec):
    levels = torch.arange(256).repeat(12).view(1, 3, 32, 32) / 255
    back = codec.decode(codec.encode(levels))
    assert torch.equal((back * 255).round(), (levels * 255).round())


def test_a_latent_cell_holds_the_pixels_of_its_patch(codec):
    picture = pictures(1)
    cell = codec.pixels(codec.encode(picture))[0, :, 8:12, 20:24]
    torch.testing.assert_close(cell, picture[0, :, 8:12, 20:24])
    changed = picture.clone()
    changed[0, :, 8:12, 20:24] += 0.5
    moved = (codec.encode(changed) != codec.encode(picture)).any(dim=1)[0]
    assert moved.nonzero().tolist() == [[2, 5]]


def test_latents_of_the_pictures_that_set_the_scale_have_mean_0_and_variance_1(codec):
    sizes = [pictures(1, 32, scale=0.2)[0], pictures(1, 20)[0]]
    codec.standardise(sizes)
    pixels = np.concatenate([picture.numpy().ravel() for picture in sizes])
    assert float(codec.level) == pytest.approx(pixels.mean(), abs=1e-6)
    assert float(codec.spread) == pytest.approx(pixels.std(ddof=1), abs=1e-6)


def test_a_product_of_one_colour_does_not_blow_up_its_latents(codec):
    codec.standardise([torch.full((3, 8, 8), 0.4)])
    latent = codec.encode(torch.full((1, 3, 32, 32), 0.4))
    assert latent.abs().max() < 1e-2
    assert latent.isfinite().all()


def test_a_mask_is_obeyed_to_the_pixel(codec):
    mask = (torch.rand(1, 1, 32, 32, generator=generator(0, "mask")) > 0.5).float()
    one, other = (codec.encode(pictures(1, scale=scale)) for scale in (1.0, 0.5))
    cells = codec.cells(mask)
    assert cells.shape == one.shape
    mixed = codec.pixels(torch.where(cells > 0, one, other))
    expected = torch.where(mask > 0, pictures(1), pictures(1, scale=0.5))
    torch.testing.assert_close(mixed, expected, rtol=0, atol=1e-6)


def test_what_is_painted_too_bright_or_too_dark_is_cut_off_only_in_the_picture(codec):
    latent = codec.encode(torch.linspace(-1, 2, 32).expand(1, 3, 32, 32))
    assert (codec.decode(latent).min(), codec.decode(latent).max()) == (0, 1)
    torch.testing.assert_close(codec.pixels(latent)[0, 0, 0], torch.linspace(-1, 2, 32))
