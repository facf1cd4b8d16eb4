"""Models that several machines share: in a folder, on NFS, or behind fsspec (S3 and the like)."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import numpy as np

from prune_env.errors import PruneEnvError, StateError
from prune_env.utils.bundle import Bundle, pack, unpack


class ModelStore:
    """Bundles of files under names that say what they were made from.

    Files are kept under their SHA-256, and a bundle is a list of them that is put there last and
    whole. So nobody sees half of one, two machines that make one at once do no harm, and no locks
    are needed. Every file is checked when it is read.

    Args:
        url: A folder, or a URL that fsspec knows, such as `s3://bucket/models`.

    Raises:
        StateError: There is no access to such a place.
    """

    def __init__(self, url: str) -> None:
        from fsspec.core import url_to_fs  # noqa: PLC0415 - most runs have no store

        self.url = url
        with self._asked():
            self._files, self._root = url_to_fs(url)

    def fetch(self, name: str, wanted: Callable[[str], bool] = lambda path: True) -> Bundle | None:
        """Return the bundle that is kept under a name, or None if there is none.

        Args:
            name: Of the bundle.
            wanted: Which paths of it are read.

        Raises:
            StateError: A file is not as it was put there, or the place does not answer.
        """
        bundle = {}
        with self._asked():
            if not self.has(name):
                return None
            listed: dict[str, str] = json.loads(self._files.cat_file(self._list(name)))
            for path, sha256 in listed.items():
                if not wanted(path):
                    continue
                data = self._files.cat_file(self._blob(sha256))
                if (actual := hashlib.sha256(data).hexdigest()) != sha256:
                    raise StateError(
                        f"{path} of {name} in {self.url} is not as it was made",
                        expected=f"SHA-256 {sha256}",
                        actual=f"SHA-256 {actual}",
                        remedy=f"delete {self._list(name)} and {self._blob(sha256)} there",
                    )
                bundle[path] = np.frombuffer(data, np.uint8)
        return bundle

    def has(self, name: str) -> bool:
        """Whether there is a bundle of this name."""
        with self._asked():
            return bool(self._files.exists(self._list(name)))

    def keep(self, name: str, bundle: Bundle) -> None:
        """Keep a bundle under a name.

        Raises:
            StateError: The place cannot be written.
        """
        listed = {}
        with self._asked():
            for path, data in bundle.items():
                listed[path] = hashlib.sha256(data.data).hexdigest()
                if not self._files.exists(self._blob(listed[path])):
                    self._put(self._blob(listed[path]), data.tobytes())
            self._put(self._list(name), json.dumps(listed, indent=2).encode())

    def try_out(self) -> None:
        """Put a file there and take it away.

        Raises:
            StateError: The place cannot be written.
        """
        tried = f"{self._root}/.tried-{uuid4().hex}"
        with self._asked():
            self._put(tried, b"")
            self._files.rm_file(tried)

    def _put(self, place: str, data: bytes) -> None:
        """Write a file that appears whole, also where writing takes its time."""
        temporary = f"{place}.{uuid4().hex}"
        self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(temporary, data)
        self._files.mv(temporary, place)

    def _list(self, name: str) -> str:
        return f"{self._root}/{name}.json"

    def _blob(self, sha256: str) -> str:
        return f"{self._root}/files/{sha256[:2]}/{sha256}"

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Turn whatever a file system raises into an error that names the store."""
        try:
            yield
        except PruneEnvError:
            raise
        except Exception as error:  # each file system has exceptions of its own
            raise StateError(
                f"The store {self.url} cannot be used",
                expected="a folder, or a URL that fsspec knows",
                actual=f"{type(error).__name__}: {error}",
                remedy="check the URL and the rights; some URLs need a package, such as s3fs",
            ) from error


@contextmanager
def shared(store: ModelStore | None, name: str, root: Path) -> Iterator[list[str]]:
    """Fetch files before the body makes them, and keep what it made, if nobody had kept it.

    Args:
        store: None just lets the body make them.
        name: Of the bundle in the store.
        root: The folder that paths in the bundle are below.

    Yields:
        Takes the paths that the body made or found.
    """
    parts: list[str] = []
    if store is None:
        yield parts
        return
    fetched = store.fetch(name, lambda path: not (root / path).exists())
    unpack(fetched or {}, root)
    yield parts
    if fetched is None:
        store.keep(name, pack(root, parts))
