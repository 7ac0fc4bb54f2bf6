"""Patches of natural images: square cut-outs of the two photographs that come with scikit-learn, without a network."""

from functools import cache

import torch
from torch import Tensor

from ...common.arguments import check_integers, shown

STRIPE = 64  # pixels, the width of the stripes that part training from test
STRIPES = ("train", "test")
MOST_NUMBERS = 10**10  # forty gigabytes of pixels


@cache
def photographs() -> Tensor:
    """The two photographs, china.jpg and flower.jpg, as (2, 3, height, width), uint8, on the CPU; read once.

    Raises:
        ImportError: scikit-learn or pillow, which reads the JPEG files, is not installed.
    """
    try:
        import PIL  # noqa: F401 (scikit-learn needs it for these files only, and without it fails halfway)
        from sklearn.datasets import load_sample_images
    except ImportError as error:
        raise ImportError(
            f"natural_patches: the photographs come with scikit-learn and are read with pillow; {error.name or error} is not "
            "installed; install both with: pip install scikit-learn pillow"
        ) from error
    images = load_sample_images().images
    return torch.stack([torch.from_numpy(image.copy()).permute(2, 0, 1) for image in images]).contiguous()


def natural_patches(
    n: int, *, size: int = 16, centre: bool = True, generator: torch.Generator | None = None, labels: bool = False,
    stripes: str | None = None, positions: bool = False,
) -> Tensor | tuple[Tensor, ...]:  # fmt: skip
    r"""Square patches at random places of two photographs, of a building in China and of a flower.

    .. math:: x_{c,i,j} = v_{c,i,j} - \frac{1}{\text{size}^2} \sum_{i',j'} v_{c,i',j'} \quad\text{(centre)}, \qquad v \in [0, 1]

    Centring takes from each patch the mean of each of its own three color channels. That is a property of this patch alone:
    nothing passes between patches, or between training and test. It is not the subtraction of the mean over a training set, one
    image for all patches, which is the caller's own step (``x - train.mean(0)``). Nor is the result normalised: see
    ``lp_normalize``.

    These are patches of two photographs, not CIFAR-10: neighbors overlap, and there are no objects. Places are drawn uniformly
    and with replacement. With ``centre``, places where the patch is flat are drawn again, because nothing is left of them; of
    size 16 there are none, of size 8 one in 9,000, of size 4 one in 250.

    Args:
        n: number of patches. size: side in pixels, 1 to 427, or to 64 with stripes; at least 2 with centre.
        centre: see above. False: pixels in [0, 1].
        generator: draws the places; patches are on its device, without a generator on the CPU.
        labels: return a class for each patch as well, one of six: 3 · photograph + third of the height in which the middle of the
            patch lies, counted from the top. A patch may reach into the next third.
        stripes: "train" or "test": the patch lies in one stripe of 64 pixels width, in an even or in an odd one counted from 0 at
            the left, so that no pixel is in patches of both. None: anywhere.
        positions: return the place of each patch as well.

    Returns:
        x (n, 3 · size · size), float32, color by color, each row by row, as in CIFAR-10's files: ``x.view(-1, 3, size, size)``.
        With ``labels`` and ``positions`` a tuple of x, classes (n,), int64, and (photograph, row, column) of the upper left pixel
        (n, 3), int64, of those asked for.

    Raises:
        ValueError: a number out of range, an unknown name of stripes. TypeError: no generator of torch; centre, labels or
        positions neither True nor False. ImportError: scikit-learn or pillow is not installed.

    Source: ``sklearn.datasets.load_sample_images``: photographs of 427 × 640 pixels by danielbuechele and vultilion, CC BY 2.0.

    Example:
        >>> natural_patches(5, size=8).shape
        torch.Size([5, 192])
        >>> x, y = natural_patches(5, labels=True, stripes="test", generator=torch.Generator().manual_seed(0))
        >>> x.shape, y.shape
        (torch.Size([5, 768]), torch.Size([5]))
    """
    for name, value in (("centre", centre), ("labels", labels), ("positions", positions)):
        if not isinstance(value, bool):
            raise TypeError(f"{name}: got {value!r}, expected True or False")
    check_integers(n=(n, 1), size=(size, 2 if centre else 1))
    if stripes is not None and not (isinstance(stripes, str) and stripes in STRIPES):
        raise ValueError(f"stripes: got {stripes!r}, expected 'train', 'test' or None")
    if generator is not None and not isinstance(generator, torch.Generator):
        raise TypeError(f"generator: got {type(generator).__name__}, expected a torch.Generator or None")
    photos = photographs()
    largest = STRIPE if stripes else min(photos.shape[-2:])
    if size > largest:
        where = "width of a stripe" if stripes else "height of the photographs"
        raise ValueError(f"size: got {shown(size)}, expected at most {largest} pixels, the {where}")
    if n * 3 * size**2 > MOST_NUMBERS:
        raise ValueError(f"n: got {shown(n)} patches of size {size}, expected at most {MOST_NUMBERS // (3 * size**2)} of them")
    places = _drawn(n, size, photos, stripes, generator)
    patches = _cut(photos, places, size)
    if centre:
        while bool((flat := _flat(patches)).any()):
            again = _drawn(int(flat.sum()), size, photos, stripes, generator)
            places[flat], patches[flat] = again, _cut(photos, again, size)
    if centre:  # in whole numbers, so that a channel without contrast becomes exactly 0
        x = (patches.int() * size**2 - patches.sum((-2, -1), keepdim=True, dtype=torch.int)).float() / (255 * size**2)
    else:
        x = patches.float() / 255
    photo, row, _ = places.unbind(-1)
    middle = 2 * row + size  # in half pixels, so that it is whole
    found = [x.flatten(1)]
    found += [3 * photo + 3 * middle // (2 * photos.shape[-2])] if labels else []
    found += [places] if positions else []
    return tuple(found) if len(found) > 1 else found[0]


def _drawn(n: int, size: int, photos: Tensor, stripes: str | None, generator: torch.Generator | None) -> Tensor:
    """Random places (n, 3): photograph, row and column of the upper left pixel."""
    count, _, height, width = photos.shape
    starts = torch.arange(width - size + 1, device="cpu")
    if stripes is not None:
        whole = starts // STRIPE == (starts + size - 1) // STRIPE
        starts = starts[whole & (starts // STRIPE % 2 == STRIPES.index(stripes))]
    device = generator.device if generator is not None else starts.device
    photo, row, column = (
        torch.randint(high, (n,), generator=generator, device=device) for high in (count, height - size + 1, len(starts))
    )
    return torch.stack([photo, row, starts.to(device)[column]], -1)


def _cut(photos: Tensor, places: Tensor, size: int) -> Tensor:
    """The patches (n, 3, size, size) at these places, uint8."""
    windows = photos.to(places.device).unfold(-2, size, 1).unfold(-2, size, 1)  # (2, 3, rows, columns, size, size), a view
    photo, row, column = places.unbind(-1)
    return windows[photo, :, row, column]


def _flat(patches: Tensor) -> Tensor:
    """Whether a patch is of one color (n,)."""
    return (patches == patches[..., :1, :1]).flatten(1).all(-1)
