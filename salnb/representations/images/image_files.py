"""CIFAR-10 and MNIST from files that a reader has on disk, read without a network and without torchvision.

A pickle can run any program when it is opened. CIFAR-10's Python batches are pickles, so they are opened by an unpickler that
knows nothing but lists, strings and numbers: where the file names numpy's array, it gets an object of this file that only keeps
what it is told, and every other name is refused. The bytes are then read as what they must be, rows of 3,072 pixels.
"""

import gzip
import io
import math
import os
import pickle
import zlib
from pathlib import Path

import torch
from torch import Tensor

Read = tuple[Tensor, Tensor]  # images (n, D), uint8, and labels (n,), int64

CLASSES = 10
CIFAR = 3 * 32 * 32  # numbers in an image
CIFAR_TRAIN = [f"data_batch_{i}" for i in range(1, 6)]
MOST_BYTES = 2**30
IMAGES, LABELS = 0x00000803, 0x00000801  # the first four bytes of an IDX file: unsigned bytes in three dimensions, in one
# Where the files lie when they have been unpacked or fetched by torchvision, below the folder that a reader names.
PLACES = ("", "cifar-10-batches-py", "cifar-10-batches-bin", "MNIST/raw", "raw", "mnist", "MNIST")


def load_images(folder: str | os.PathLike, *, name: str | None = None, train: bool = True) -> tuple[Tensor, Tensor]:
    r"""Images and classes of CIFAR-10 or MNIST from the files in a folder.

    .. math:: x = \frac{\text{byte}}{255} \in [0, 1]

    Known forms: CIFAR-10's Python batches (``data_batch_1`` … ``test_batch``), its binary ones (``….bin``), and the IDX files of
    MNIST (``train-images-idx3-ubyte`` …, also with ``.gz``), which Fashion-MNIST and KMNIST have as well. They may lie in the
    folder itself or where unpacking them or torchvision puts them: ``cifar-10-batches-py``, ``cifar-10-batches-bin`` or
    ``MNIST/raw`` in it.

    Args:
        folder: path of the folder.
        name: "cifar10", "mnist", or None for the one that is there.
        train: True for the training images (50,000 or 60,000), False for the 10,000 of the test.

    Returns:
        images (n, D), float32, in [0, 1], D = 3072 (color by color, each row by row, as ``natural_patches``) or 784, and labels
        (n,), int64, 0 to 9; in the order of the files, on the CPU.

    Raises:
        FileNotFoundError: no such folder, or a file is missing. ValueError: a file that is truncated or of another kind, both
        data sets in one folder without ``name``, an unknown name. TypeError: folder is no path, train neither True nor False.

    Source: Krizhevsky, *Learning multiple layers of features from tiny images*, 2009, and LeCun, Cortes and Burges, MNIST; the
    forms of the files as their home pages describe them.

    Example:
        >>> load_images("no/such/folder", name="mnist")
        Traceback (most recent call last):
            ...
        FileNotFoundError: folder: got 'no/such/folder', which is no folder; expected one with the files of CIFAR-10 or MNIST
    """
    if not isinstance(folder, str | os.PathLike):
        raise TypeError(f"folder: got {type(folder).__name__}, expected a path, such as 'data/cifar-10-batches-py'")
    if name is not None and not (isinstance(name, str) and name in READERS):
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(READERS)}, or None")
    if not isinstance(train, bool):
        raise TypeError(f"train: got {train!r}, expected True for the training images or False for those of the test")
    try:
        root = Path(folder).expanduser()
    except RuntimeError as error:
        raise FileNotFoundError(
            f"folder: got {str(folder)!r}, whose ~ is no known user's home folder; expected a path without it, or a known user"
        ) from error
    if not root.is_dir():
        what = "a file" if root.exists() else "no folder"
        raise FileNotFoundError(f"folder: got {str(folder)!r}, which is {what}; expected one with the files of CIFAR-10 or MNIST")
    places = [root / place for place in PLACES if (root / place).is_dir()]
    names = [name] if name else [one for one in READERS if any(_holds(place, one) for place in places)]
    if len(names) > 1:
        raise ValueError(f"folder: got {str(folder)!r}, which holds {' and '.join(names)}; say which by name=")
    found = [(one, place) for one in names for place in places if _holds(place, one)]
    if not found:
        raise FileNotFoundError(_nothing(root, name))
    images, labels = READERS[found[0][0]](found[0][1], train)
    return images.float() / 255, labels


def _holds(place: Path, name: str) -> bool:
    """Whether any of the data set's files is there; if some are missing, the reader says which."""
    if name == "cifar10":
        return any((place / f"{batch}{end}").is_file() for batch in [*CIFAR_TRAIN, "test_batch"] for end in ("", ".bin"))
    return any(_idx_file(place, part, kind) for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1"))


def _nothing(root: Path, name: str | None) -> str:
    wanted = {"cifar10": "data_batch_1 … test_batch", "mnist": "train-images-idx3-ubyte …"}
    files = " or ".join(wanted[one] for one in ([name] if name else wanted))
    packed = sorted(path.name for end in ("*.tar.gz", "*.tgz", "*.zip", "*.tar") for path in root.glob(end))
    inside = sorted(path.name for path in root.iterdir())
    there = ", ".join(inside[:5]) + (", …" if len(inside) > 5 else "") if inside else "nothing"
    hint = f"; unpack {packed[0]} first" if packed else ""
    return f"folder: {str(root)!r} holds {there}; expected {files}, in it or in one of {', '.join(PLACES[1:5])}{hint}"


# --- CIFAR-10 -----------------------------------------------------------------------------------------------------------
def _cifar10(place: Path, train: bool) -> Read:
    batches = CIFAR_TRAIN if train else ["test_batch"]
    binary = not any((place / batch).is_file() for batch in batches)
    files = [place / (f"{batch}.bin" if binary else batch) for batch in batches]
    if missing := [file.name for file in files if not file.is_file()]:
        raise FileNotFoundError(f"folder: in {str(place)!r} there is no {', '.join(missing)}; expected all files of CIFAR-10")
    read = [(_binary_batch if binary else _pickled_batch)(file) for file in files]
    images, labels = (torch.cat(parts) for parts in zip(*read, strict=True))
    return images, labels


def _binary_batch(file: Path) -> Read:
    content = file.read_bytes()
    if not content or len(content) % (1 + CIFAR):
        raise ValueError(
            f"folder: {str(file)!r} has {len(content)} bytes, expected a multiple of {1 + CIFAR} (a label and an image each); it "
            "is truncated or no binary batch of CIFAR-10, so fetch it again"
        )
    rows = _bytes(content).view(-1, 1 + CIFAR)
    return rows[:, 1:], _classes(rows[:, 0], file)


def _pickled_batch(file: Path) -> Read:
    wrong = f"folder: {str(file)!r} is truncated or no Python batch of CIFAR-10"
    try:
        batch = _Unpickler(io.BytesIO(file.read_bytes()), encoding="bytes").load()
    except _Refused as error:
        raise ValueError(f"{wrong}: {error}") from error
    except OSError:
        raise
    except Exception as error:  # a damaged pickle fails in any way
        raise ValueError(f"{wrong}: {type(error).__name__}: {error}; fetch it again") from error
    items = batch.items() if isinstance(batch, dict) else ()
    fields = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in items}
    if "fine_labels" in fields:
        raise ValueError(f"{wrong}: it is one of CIFAR-100, with fine and coarse labels")
    data, labels = fields.get("data"), fields.get("labels")
    content = data.content() if isinstance(data, _Array) else None
    if content is None or not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError(f"{wrong}: expected a dictionary with data, an array (n, {CIFAR}) of bytes, and labels, a list")
    if not labels or len(content) != len(labels) * CIFAR:
        raise ValueError(f"{wrong}: {len(content)} bytes of data, {len(labels)} labels; expected {CIFAR} for each")
    if not all(0 <= label < CLASSES for label in labels):
        raise ValueError(f"{wrong}: a label is not in 0 to {CLASSES - 1}")
    return _bytes(content).view(-1, CIFAR), torch.tensor(labels, dtype=torch.int64, device="cpu")


class _Refused(pickle.UnpicklingError):
    """The file names something that is neither a list, a string, a number nor numpy's array."""


class _Dtype:
    """In place of numpy's dtype."""

    def __init__(self, code: object = None, *rest: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        """The byte order; bytes have none."""


class _Array:
    """In place of numpy's array: keeps what the pickle says of it."""

    def __init__(self, *rest: object) -> None:
        self.state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state

    def content(self) -> bytes | None:
        """The bytes, if these are rows (n, 3072) of bytes, one row after the other."""
        match self.state:
            case (_, (int(), width), _Dtype(code="u1" | b"u1"), False | 0, bytes() as content) if width == CIFAR:
                return content
            case _:
                return None


def _encoded(text: object, encoding: object = "latin1") -> bytes:
    """In place of ``_codecs.encode``, by which Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise _Refused(f"it encodes {type(text).__name__} as {encoding!r}")
    return text.encode("latin1")


def _from_buffer(content: object, dtype: object, shape: object, order: object = "C", *rest: object) -> _Array:
    """In place of numpy's function that makes an array of the bytes in a pickle of protocol 5."""
    array = _Array()
    array.state = (1, shape, dtype, order not in ("C", b"C"), bytes(content) if isinstance(content, bytes | bytearray) else None)
    return array


class _Unpickler(pickle.Unpickler):
    """Opens lists, dictionaries, strings, numbers and arrays of bytes; what else the file names is refused and not imported."""

    def find_class(self, module: str, name: str) -> object:
        # A pickle can set attributes of what it names: of these two functions only of a wrapper that nothing else uses.
        known = {("numpy", "dtype"): _Dtype, ("numpy", "ndarray"): _Array, ("_codecs", "encode"): lambda *given: _encoded(*given)}
        for core in ("numpy.core", "numpy._core"):
            known[f"{core}.multiarray", "_reconstruct"] = _Array
            known[f"{core}.numeric", "_frombuffer"] = lambda *given: _from_buffer(*given)
        if (module, name) not in known:
            raise _Refused(f"it names {module}.{name}, which no batch of CIFAR-10 needs; do not open it with pickle")
        return known[module, name]


# --- MNIST ----------------------------------------------------------------------------------------------------------------
def _idx_file(place: Path, part: str, kind: str) -> Path | None:
    names = (f"{part}-{kind}-ubyte", f"{part}-{kind.replace('-', '.')}-ubyte")  # some copies have a dot for the hyphen
    return next((place / f"{one}{end}" for one in names for end in ("", ".gz") if (place / f"{one}{end}").is_file()), None)


def _mnist(place: Path, train: bool) -> Read:
    part = "train" if train else "t10k"
    files = {kind: _idx_file(place, part, kind) for kind in ("images-idx3", "labels-idx1")}
    if missing := [f"{part}-{kind}-ubyte" for kind, file in files.items() if file is None]:
        raise FileNotFoundError(f"folder: in {str(place)!r} there is no {', '.join(missing)}, with or without .gz")
    (n, *sides), pixels = _idx(files["images-idx3"], IMAGES)
    (count,), labels = _idx(files["labels-idx1"], LABELS)
    if count != n:
        raise ValueError(f"folder: in {str(place)!r} there are {n} images but {count} labels, expected as many; fetch both again")
    return pixels.view(n, sides[0] * sides[1]), _classes(labels, files["labels-idx1"])


def _idx(file: Path, magic: int) -> tuple[list[int], Tensor]:
    """Sizes and bytes of an IDX file, packed by gzip or not, whatever its name says."""
    content = file.read_bytes()
    wrong = f"folder: {str(file)!r} is truncated or no IDX file of {'images' if magic == IMAGES else 'labels'}"
    stream = gzip.GzipFile(fileobj=io.BytesIO(content)) if content[:2] == b"\x1f\x8b" else io.BytesIO(content)
    dimensions = magic & 0xFF
    try:
        head = stream.read(4 + 4 * dimensions)
        if len(head) < 4 + 4 * dimensions or int.from_bytes(head[:4]) != magic:
            raise ValueError(f"{wrong}: it begins with {head.hex() or 'nothing'}, expected {magic:08x}")
        sizes = [int.from_bytes(head[4 * i : 4 * i + 4]) for i in range(1, dimensions + 1)]
        expected = math.prod(sizes)
        if expected > MOST_BYTES:
            raise ValueError(f"{wrong}: its head announces {' × '.join(map(str, sizes))} bytes, more than any such file has")
        body = stream.read(expected + 1)  # no more than the head announces, however much a packed file would unfold to
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(f"{wrong}: {error}; fetch it again") from error
    if len(body) != expected or not expected:
        more = "more" if len(body) > expected else str(len(body))
        raise ValueError(f"{wrong}: its head announces {' × '.join(map(str, sizes))} bytes, it holds {more}; fetch it again")
    return sizes, _bytes(body)


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _classes(labels: Tensor, file: Path) -> Tensor:
    if int(labels.max()) >= CLASSES:
        raise ValueError(f"folder: {str(file)!r} has the label {int(labels.max())}, expected 0 to {CLASSES - 1}")
    return labels.long()


READERS = {"cifar10": _cifar10, "mnist": _mnist}
