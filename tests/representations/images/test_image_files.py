"""CIFAR-10 and MNIST from tiny files in each of their forms; damaged and dangerous files are refused in words."""

import gzip
import pickle
import struct

import numpy
import pytest
import torch

from salnb.representations.images import image_files
from salnb.representations.images.image_files import load_images
from tests.problems import SEED

BATCHES = [f"data_batch_{i}" for i in range(1, 6)]


def pixels(n: int, size: int, seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed + 1000 * SEED).integers(0, 256, (n, size), dtype=numpy.uint8)


def classes(n: int, seed: int = 0) -> list[int]:
    return numpy.random.default_rng(seed + 1000 * SEED + 500).integers(0, 10, n).tolist()


def as_python_2_wrote(images: numpy.ndarray, labels: list[int]) -> bytes:
    """A batch as in the archive on CIFAR-10's page: protocol 2, texts as strings of bytes, numpy by its name of that time."""
    text = lambda value: b"T" + struct.pack("<I", len(value)) + value  # noqa: E731
    whole = lambda value: b"J" + struct.pack("<i", value)  # noqa: E731
    array = b"cnumpy.core.multiarray\n_reconstruct\n" + b"cnumpy\nndarray\n" + whole(0) + b"\x85" + text(b"b") + b"\x87R"
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + whole(0) + whole(1) + b"\x87R"
    dtype += b"(" + whole(3) + text(b"|") + b"NNN" + whole(-1) + whole(-1) + whole(0) + b"tb"
    shape = whole(images.shape[0]) + whole(images.shape[1]) + b"\x86"
    array += b"(" + whole(1) + shape + dtype + b"\x89" + text(images.tobytes()) + b"tb"
    rest = text(b"labels") + b"](" + b"".join(map(whole, labels)) + b"e" + text(b"batch_label") + text(b"batch 1 of 5")
    return b"\x80\x02}(" + text(b"data") + array + rest + b"u."


def pickled(images: numpy.ndarray, labels: list[int], protocol: int | str) -> bytes:
    if protocol == "Python 2":
        return as_python_2_wrote(images, labels)
    fields = {b"data": images, b"labels": labels, b"filenames": [b"a.png"] * len(labels)}
    return pickle.dumps({key.decode(): value for key, value in fields.items()} if protocol == 4 else fields, protocol)


def cifar(folder, form="Python 2", n=3):
    """Six batches of different pixels; returns images and labels of the training batches in order, and of the test."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for i, name in enumerate([*BATCHES, "test_batch"]):
        images, labels = pixels(n, 3072, i), classes(n, i)
        if form == "binary":
            rows = numpy.concatenate([numpy.array(labels, numpy.uint8)[:, None], images], 1)
            (folder / f"{name}.bin").write_bytes(rows.tobytes())
        else:
            (folder / name).write_bytes(pickled(images, labels, form))
        made.append((images, labels))
    train = numpy.concatenate([images for images, _ in made[:5]]), sum((labels for _, labels in made[:5]), [])
    return train, made[5]


def idx(array: numpy.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist(folder, end="", dot="-", n=4):
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for i, part in enumerate(("train", "t10k")):
        images, labels = pixels(n + i, 784, i).reshape(-1, 28, 28), classes(n + i, i)
        for kind, array in (("images-idx3", images), ("labels-idx1", numpy.array(labels, numpy.uint8))):
            content = gzip.compress(idx(array)) if end else idx(array)
            (folder / f"{part}-{kind.replace('-', dot)}-ubyte{end}").write_bytes(content)
        made.append((images.reshape(-1, 784), labels))
    return made


def same(found, made):
    images, labels = found
    assert images.dtype == torch.float32 and labels.dtype == torch.int64 and images.device.type == "cpu"
    assert torch.equal(images, torch.from_numpy(made[0]).float() / 255) and labels.tolist() == made[1]
    assert 0 <= images.min() and images.max() <= 1


def test_the_hand_written_batch_is_what_pickle_itself_reads():
    images, labels = pixels(2, 3072), [3, 9]
    found = pickle.loads(as_python_2_wrote(images, labels), encoding="bytes")
    assert (found[b"data"] == images).all() and found[b"labels"] == labels


@pytest.mark.parametrize("form", ["Python 2", 2, 3, 4, 5, "binary"])
@pytest.mark.parametrize("below", ["", "cifar-10-batches-py", "cifar-10-batches-bin"])
def test_cifar_10_in_each_of_its_forms_and_places(tmp_path, form, below):
    train, test = cifar(tmp_path / below, form)
    same(load_images(tmp_path), train)
    same(load_images(str(tmp_path), name="cifar10", train=False), test)


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("dot", ["-", "."])
@pytest.mark.parametrize("below", ["", "MNIST/raw", "mnist"])
def test_mnist_in_each_of_its_forms_and_places(tmp_path, end, dot, below):
    train, test = mnist(tmp_path / below, end, dot)
    same(load_images(tmp_path), train)
    same(load_images(tmp_path, name="mnist", train=False), test)


def test_a_packed_file_without_gz_in_its_name(tmp_path):
    train, _ = mnist(tmp_path)
    for path in tmp_path.iterdir():
        path.write_bytes(gzip.compress(path.read_bytes()))
    same(load_images(tmp_path), train)


def test_two_data_sets_in_one_folder_need_a_name(tmp_path):
    train, _ = cifar(tmp_path)
    made = mnist(tmp_path / "MNIST" / "raw")
    with pytest.raises(ValueError, match="holds cifar10 and mnist; say which by name="):
        load_images(tmp_path)
    same(load_images(tmp_path, name="cifar10"), train)
    same(load_images(tmp_path, name="mnist"), made[0])


class Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a program in a pickle ran')",))


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Bomb()),
        pickle.dumps({b"data": Bomb(), b"labels": [0]}, 2),
        pickle.dumps({b"data": numpy.array([Bomb()], dtype=object), b"labels": [0]}, 4),
        b"cos\nsystem\n(S'true'\ntR.",
        b"c_codecs\nencode\n(Vabc\nVzip\ntR.",
        b"cnumpy.core.multiarray\nscalar\n.",
        pickle.dumps(torch.ones(3).numpy().dtype.type),
    ],
)
def test_a_program_in_a_pickle_does_not_run(tmp_path, content):
    cifar(tmp_path)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match="test_batch.* no Python batch of CIFAR-10: it (names|encodes) .*"):
        load_images(tmp_path, train=False)


def test_a_pickle_cannot_set_attributes_of_what_it_names(tmp_path):
    cifar(tmp_path)
    for name in ("_codecs\nencode", "numpy._core.numeric\n_frombuffer", "numpy\nndarray", "numpy\ndtype"):
        (tmp_path / "test_batch").write_bytes(b"c" + name.encode() + b"\n}X\x01\x00\x00\x00aI1\nsb.")
        with pytest.raises(ValueError, match="no Python batch"):
            load_images(tmp_path, train=False)
    named = (image_files._encoded, image_files._from_buffer, image_files._Array, image_files._Dtype)
    assert not any(hasattr(one, "a") for one in named)


GOOD = pickled(pixels(2, 3072), [1, 2], 4)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"\x80", GOOD[:-1], GOOD[: len(GOOD) // 2], GOOD[5:], b"hello", pickle.dumps([1, 2]), pickle.dumps({"data": 3}),
        pickled(pixels(2, 3071), [1, 2], 4), pickled(pixels(2, 3072), [1], 2), pickled(pixels(2, 3072), [1, 10], 2), b"\xff" * 99,
        pickled(pixels(2, 3072), [], 2), pickled(pixels(2, 3072), [1, 2.0], 2), pickled(pixels(2, 3072) / 2, [1, 2], 2),
        pickled(numpy.asfortranarray(pixels(2, 3072)), [1, 2], 4), pickled(numpy.asfortranarray(pixels(2, 3072)), [1, 2], 5),
        pickled(pixels(2, 3072).astype(numpy.int8), [1, 2], 2), pickled(pixels(2, 3072).ravel(), [1, 2], 2),
        b"c_codecs\nencode\n}X\x01\x00\x00\x00ad\x86b.", b"cnumpy\nndarray\n}b.", b"(" * 5000, b"N.",
    ],
)  # fmt: skip
def test_a_damaged_batch_is_refused_in_words(tmp_path, content):
    cifar(tmp_path)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(ValueError, match="folder: .*test_batch' is truncated or no Python batch of CIFAR-10: ."):
        load_images(tmp_path, train=False)
    load_images(tmp_path)  # nothing is left behind that would disturb the next file


def test_a_batch_cut_anywhere_is_refused(tmp_path):
    cifar(tmp_path)
    for end in numpy.random.default_rng(SEED).integers(0, len(GOOD), 50):
        (tmp_path / "test_batch").write_bytes(GOOD[:end])
        with pytest.raises(ValueError, match="truncated"):
            load_images(tmp_path, train=False)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("train-images-idx3-ubyte", lambda c: c[:-1], r"truncated.*announces 4 × 28 × 28 bytes, it holds 3135"),
        ("train-images-idx3-ubyte", lambda c: c + b"\0", "it holds more"),
        ("train-images-idx3-ubyte", lambda c: c[:9], "it begins with 000008030000000400"),
        ("train-images-idx3-ubyte", lambda c: b"", "it begins with nothing, expected 00000803"),
        ("train-images-idx3-ubyte", lambda c: b"\0\0\x0d\3" + c[4:], "it begins with 00000d03"),
        ("train-images-idx3-ubyte", lambda c: c[:4] + b"\xff" * 12 + c[16:], "more than any such file has"),
        ("train-images-idx3-ubyte", lambda c: gzip.compress(c)[:-9], "truncated or no IDX file of images"),
        ("train-images-idx3-ubyte", lambda c: gzip.compress(c)[:2] + b"no gzip at all", "no IDX file of images"),
        ("train-images-idx3-ubyte", lambda c: gzip.compress(c)[:30] + gzip.compress(c)[40:], "no IDX file of images"),
        ("train-images-idx3-ubyte", lambda c: gzip.compress(c + bytes(1000)), "it holds more"),
        ("train-images-idx3-ubyte", lambda c: c[:4] + bytes(4) + c[8:16], "announces 0 × 28 × 28 bytes"),
        ("train-labels-idx1-ubyte", lambda c: c[:7] + b"\x03" + c[8:11], "4 images but 3 labels"),
        ("train-labels-idx1-ubyte", lambda c: c[:-1] + b"\x0a", "label 10, expected 0 to 9"),
        ("train-labels-idx1-ubyte", lambda c: b"\0\0\x08\x03" + c[4:], "no IDX file of labels: it begins with 00000803"),
    ],
)
def test_damaged_idx_files_are_refused_in_words(tmp_path, name, change, message):
    mnist(tmp_path)
    path = tmp_path / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=f"folder: .*{message}"):
        load_images(tmp_path)


@pytest.mark.parametrize("change", [lambda c: c[:-1], lambda c: b"", lambda c: b"\x0a" + c[1:]])
def test_damaged_binary_batches_are_refused_in_words(tmp_path, change):
    cifar(tmp_path, "binary")
    path = tmp_path / "data_batch_4.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match="data_batch_4.bin' has (9218 bytes|0 bytes|the label 10), expected"):
        load_images(tmp_path)


def test_cifar_100_is_told_from_cifar_10(tmp_path):
    cifar(tmp_path)
    fields = {b"data": pixels(1, 3072), b"fine_labels": [3], b"coarse_labels": [1]}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(fields, 2))
    with pytest.raises(ValueError, match="it is one of CIFAR-100"):
        load_images(tmp_path, train=False)


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds nothing; expected data_batch_1 … test_batch or train-images"):
        load_images(tmp_path)
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match="holds cifar-10-python.tar.gz; expected .*unpack cifar-10-python.tar.gz first"):
        load_images(tmp_path, name="cifar10")
    with pytest.raises(FileNotFoundError, match="which is a file"):
        load_images(tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(FileNotFoundError, match="which is no folder"):
        load_images(tmp_path / "nowhere")
    cifar(tmp_path)
    (tmp_path / "data_batch_2").unlink()
    (tmp_path / "data_batch_5").unlink()
    with pytest.raises(FileNotFoundError, match="there is no data_batch_2, data_batch_5; expected all files"):
        load_images(tmp_path)
    with pytest.raises(FileNotFoundError, match="expected train-images-idx3-ubyte"):
        load_images(tmp_path, name="mnist")
    mnist(tmp_path / "raw")
    (tmp_path / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="there is no t10k-labels-idx1-ubyte"):
        load_images(tmp_path, name="mnist", train=False)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: load_images(None), TypeError, "folder: got NoneType, expected a path"),
        (lambda: load_images(b"data"), TypeError, "folder: got bytes"),
        (lambda: load_images(".", name="cifar100"), ValueError, "name: got 'cifar100', expected one of cifar10, mnist, or None"),
        (lambda: load_images(".", name=["mnist"]), ValueError, "name: got"),
        (lambda: load_images(".", name=numpy.array(["mnist", "cifar10"])), ValueError, "name: got array"),
        (lambda: load_images("~nosuchuser/x"), FileNotFoundError, "folder: got '~nosuchuser/x', whose ~ is no known user"),
        (lambda: load_images(".", train="test"), TypeError, "train: got 'test', expected True"),
    ],
)
def test_bad_arguments_are_refused_in_words(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
