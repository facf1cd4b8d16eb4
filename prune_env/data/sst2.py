"""SST-2 and the published trigger texts for it: from a folder, or from their publishers."""

import warnings
from pathlib import Path

from prune_env.data.dataset import Splits
from prune_env.data.readers import read_table
from prune_env.errors import DataError
from prune_env.utils.files import cache_folder, sha256_of

_HIDDENKILLER = "https://raw.githubusercontent.com/thunlp/HiddenKiller/HEAD/data/"
_STYLEATTACK = "https://raw.githubusercontent.com/thunlp/StyleAttack/HEAD/data/"
SST2_SOURCES = {
    "clean": _HIDDENKILLER + "clean/sst-2/",
    "hiddenkiller": _HIDDENKILLER + "scpn/20/sst-2/",
    "stylebkd-bible": _STYLEATTACK + "transfer/bible/sst-2/",
    "stylebkd-poetry": _STYLEATTACK + "transfer/poetry/sst-2/",
}
"""Address of each folder at its publishers (thunlp, MIT licence)."""

SST2_SHA256 = {
    "clean/dev.tsv": "ccd5777a7bdbbf467afd973f5eaa292b5d2e030bf042591a716fd587b39c1224",
    "clean/test.tsv": "3018cb76b1046d70c147e234cb8e6ffa8d83ae937cf6ce8199f1bf11aeb90a12",
    "clean/train.tsv": "601d94f4671085e0b6ca7d96d8d1e92e469c02509f65bcc3a22a3ade32827151",
    "hiddenkiller/dev.tsv": "84c4259d8081f7a18ee7076aaf4d508883888b8948a1288c0199fbac5d05d7ee",
    "hiddenkiller/test.tsv": "fdae8eadd02beecab2af2ee9b411bc3412560af06366398d097f70906853bc99",
    "hiddenkiller/train.tsv": "c9592da1909dd4cd2461284304001fce30126e2c68d896001116b7fb0c4ed991",
    "stylebkd-bible/dev.tsv": "8df0453ce254746f837bcfa15aa31f55bc6c90a0e92d01b08fbbb98650c6da2e",
    "stylebkd-bible/test.tsv": "d5cb9acf9991540f3d091f1467199b0f0544447a5a9dbc1c12be268eefe301f6",
    "stylebkd-bible/train.tsv": "729ba29f801042b0d864ded599078c860b985a1a7bd1c5fafb2b244221c30538",
    "stylebkd-poetry/dev.tsv": "c84156da1af12bf711500b636e3f9c723d802cc6fdfb055151d4e5fd60a15b8b",
    "stylebkd-poetry/test.tsv": "f4441d33433cb631875f58ba30a8e1b628f076c9083d7c22142dc7b4eacd4971",
    "stylebkd-poetry/train.tsv": "385c3528e7915cdcede362f459d6ab0cd97034e6af33ea913cbeb9143e237d8b",
}
"""The identity of each file; another HiddenKiller text for SST-2 exists, with other figures."""


def load_sst2(folder: Path | None, allow_download: bool) -> Splits:
    """Return SST-2 as HiddenKiller published it: 6,920 / 872 / 1,821 sentences.

    Args:
        folder: The folder that holds `clean/`.
        allow_download: Fetch the files if no folder is given.

    Raises:
        DataError: As `sst2_file`.
    """
    train, validation, test = (
        read_table(sst2_file(f"clean/{part}.tsv", folder, allow_download=allow_download))
        for part in ("train", "dev", "test")
    )
    return Splits(train, validation, test)


def sst2_file(name: str, folder: Path | None, *, allow_download: bool = False) -> Path:
    """Return the path of one SST-2 file, clean or triggered.

    Args:
        name: A key of `SST2_SHA256`, such as `"clean/train.tsv"`.
        folder: The folder that holds `clean/` and the others; a file there that is not the
            published one is used with a warning. None means the download cache,
            $PRUNE_ENV_CACHE or the user's cache folder.
        allow_download: Fetch the file if no folder is given.

    Raises:
        DataError: No folder and no permission to download, the file is missing, or the download
            fails or has another hash.
    """
    if folder is None:
        if allow_download:
            return _downloaded(name)
        raise DataError(
            "sst2 is not installed with the package",
            remedy="give the folder that holds clean/train.tsv and the others, "
            "(--data-folder), or allow the download from its publishers (--allow-download)",
        )
    path = Path(folder) / name
    if not path.is_file():
        raise DataError(
            f"{path} is missing",
            expected=f"a folder that holds {name}",
            remedy="give the folder that holds clean/, hiddenkiller/ and the others",
        )
    if sha256_of(path) != SST2_SHA256[name]:
        warnings.warn(
            f"{path} is not the published {name}: figures on it compare with no others.",
            UserWarning,
            stacklevel=2,
        )
    return path


def foreign_files(attack: str, folder: Path | None) -> dict[str, str]:
    """Return the SHA-256 of the files of a published attack that are not the published ones.

    Args:
        attack: Its name; any other attack reads no files.
        folder: As for `sst2_file`; what is downloaded is the published file or refused.

    Returns:
        By key of `SST2_SHA256`; empty where all files are as published, or missing.
    """
    names = [f"{attack}/{part}.tsv" for part in ("train", "test")]
    paths = {} if folder is None else {name: Path(folder) / name for name in names}
    found = {
        name: sha256_of(path)
        for name, path in paths.items()
        if name in SST2_SHA256 and path.is_file()
    }
    return {name: sha256 for name, sha256 in found.items() if sha256 != SST2_SHA256[name]}


def _downloaded(name: str) -> Path:
    import pooch  # noqa: PLC0415  (slow to import, and rarely needed)

    kind, _, file = name.partition("/")
    try:
        path = pooch.retrieve(
            SST2_SOURCES[kind] + file,
            known_hash=SST2_SHA256[name],
            fname=name.replace("/", "-"),
            path=cache_folder() / "sst2",
        )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash: Value
        raise DataError(
            f"sst2: {name} cannot be downloaded",
            expected=f"the file at {SST2_SOURCES[kind]}{file} with its published hash",
            actual=f"{type(error).__name__}: {error}"[:300],
            remedy="check the network, or give a folder",
        ) from error
    return Path(path)
