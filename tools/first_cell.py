"""The first cell of a notebook that carries the library. It is copied into notebooks as text, so it imports nothing of ours.

`bring` must run on any Python from 3.11 on, with nothing but the standard library, before anything else is imported.
"""

import base64
import hashlib
import importlib.metadata
import importlib.util
import io
import subprocess
import sys
import tempfile
import zipfile


def bring(version, needed, release, digest, packed):
    """Use the salnb that is installed; else install the release; else unpack the copy that this cell carries."""
    importlib.invalidate_caches()
    missing = [name for name in needed if importlib.util.find_spec(name.split(":")[0]) is None]
    if missing:
        names = " ".join(name.split(":")[-1] for name in missing)
        raise ModuleNotFoundError(f"This chapter needs {names}. Run `%pip install {names}` in a new cell, then this one again.")

    def installed():
        importlib.invalidate_caches()
        spec = importlib.util.find_spec("salnb")
        return spec is not None and spec.origin is not None  # a folder that merely has this name has no origin

    if installed():
        found = importlib.metadata.version("salnb")
        other = "" if found == version else f"; this chapter was made with {version}"
        print(f"salnb {found} is installed here, and is used{other}.")
        return
    if release:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "0", "--timeout", "20", release]
        if subprocess.run(command, capture_output=True).returncode == 0 and installed():
            print(f"salnb {version} was installed from {release}.")
            return
    text = "".join(packed.split())
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        raise RuntimeError("The copy of salnb inside this cell is damaged: its hash is another. Download the notebook again.")
    try:
        import lzma
    except ImportError:
        raise RuntimeError("This Python was built without lzma, so this cell cannot unpack salnb. Take another Python.") from None
    folder = tempfile.mkdtemp(prefix="salnb-")
    with zipfile.ZipFile(io.BytesIO(lzma.decompress(base64.b85decode(text)))) as wheel:
        wheel.extractall(folder)
    sys.path.insert(0, folder)
    sys.modules.pop("salnb", None)
    print(f"salnb {version} was unpacked from this cell into a temporary folder, with the results that this chapter draws.")
