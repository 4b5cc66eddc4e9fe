"""Files that are whole or absent, and datasets as netCDF with the same bytes every time."""

import hashlib
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from .usage import UsageError

TEMPORARY = ".writing-"


def make_folder(folder: Path) -> None:
    """Makes a folder, and those above it, unless it is there.

    Raises:
      UsageError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder}: {error.strerror}") from error


def write_bytes(path: Path, content: bytes) -> None:
    """Writes beside `path`, forces it to the disk, then renames: no reader sees a half file."""
    try:
        descriptor, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                os.fchmod(file.fileno(), 0o644)  # a temporary file is its owner's alone
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}") from error


def _storable(variable: xr.DataArray) -> xr.DataArray:
    """netCDF's classic format has no 64-bit integers and no booleans."""
    if variable.dtype == np.bool_:
        return variable.astype(np.int8)
    if variable.dtype.kind in "iu" and variable.dtype.itemsize > 2:
        limits = np.iinfo(np.int32)
        if variable.size and (variable.min() < limits.min or variable.max() > limits.max):
            return variable.astype(np.float64)
        return variable.astype(np.int32)
    return variable


def to_bytes(dataset: xr.Dataset) -> bytes:
    """Encodes as netCDF-3 (64-bit offset), which keeps no time stamp: same data, same bytes.

    Integers become int32 where they fit and float64 elsewhere, booleans int8.
    """
    names = [*dataset.data_vars, *dataset.coords]
    stored = dataset.assign({name: _storable(dataset[name]) for name in names})
    return bytes(stored.to_netcdf(engine="scipy", format="NETCDF3_64BIT"))


def from_bytes(content: bytes) -> xr.Dataset:
    """Decodes what `to_bytes` gave."""
    # Without its encoding: the lengths of strings in it would not fit what is joined later.
    return xr.load_dataset(io.BytesIO(content), engine="scipy").drop_encoding()


def digest(content: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
