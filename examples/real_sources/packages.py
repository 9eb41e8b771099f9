"""Packages of Debian and npm: downloads them with the machine's own client, checks their SHA-256, reads their files."""

import hashlib
import io
import json
import lzma
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from t2t_lite.errors import UserError
from t2t_lite.problems.files import is_hidden

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60  # bytes before each member of an ar archive
_NOT_OFFERED = ("was not found", "Unable to locate", "has no installation candidate", "No matching version", "ETARGET")
_NO_NETWORK = ("Failed to fetch", "Could not resolve", "Temporary failure", "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED")


@dataclass(frozen=True)
class Package:
    """A package as the lock file records it.

    Attributes:
      name: the package's name.
      client: "apt-get" or "npm".
      version: the recorded version.
      sha256: the recorded checksum of the file.
    """

    name: str
    client: str
    version: str
    sha256: str

    @property
    def pattern(self) -> str:
        """The pattern of the names that its client gives to its files."""
        return f"{self.name}_*.deb" if self.client == "apt-get" else f"{self.name}-[0-9]*.tgz"

    @property
    def page(self) -> str:
        """Where a person finds the file."""
        if self.client == "apt-get":
            return f"https://packages.debian.org/{self.name}"
        return f"https://www.npmjs.com/package/{self.name}"

    @property
    def commands(self) -> dict[str, list[str]]:
        """The commands that download the recorded version, and the version on offer."""
        if self.client == "apt-get":
            start, separator = ["apt-get", "download"], "="
        else:
            start, separator = ["npm", "pack", "--loglevel=error", "--fetch-retries=1"], "@"
        return {"recorded": [*start, f"{self.name}{separator}{self.version}"], "offered": [*start, self.name]}


@dataclass(frozen=True)
class PackageFile:
    """A package that lies in a folder.

    Attributes:
      package: the package as recorded.
      path: its file.
      sha256: the checksum of the file.
    """

    package: Package
    path: Path
    sha256: str

    @property
    def entry(self) -> dict[str, str]:
        """What the manifest stores about it."""
        return {"file": self.path.name, "sha256": self.sha256}


def read_lock(path: Path) -> dict[str, Package]:
    """Reads the lock file: {name: package}.

    Raises:
      UserError: it cannot be read, or is no lock file.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf8"))["packages"]
        return {
            name: Package(name, entry["client"], entry["version"], entry["sha256"]) for name, entry in entries.items()
        }
    except OSError as e:
        raise UserError(f"--lock: {path}: {e.strerror}") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise UserError(f"--lock: {path}: not a record of packages ({type(e).__name__}: {e})") from e


def check_clients(packages: list[Package], folder: Path) -> None:
    """Raises UserError if a package would have to be downloaded and its client is missing; before any download."""
    for package in packages:
        if not _candidates(package, folder) and shutil.which(package.client) is None:
            hint = " (Debian and Ubuntu have it)" if package.client == "apt-get" else ": apt-get install npm"
            raise UserError(
                f"{package.client} is missing; it downloads {package.name}. Install it{hint}, or put "
                f"{package.pattern} from {package.page} into {folder} (--packages)"
            )


def get(package: Package, folder: Path, accept_new: bool) -> PackageFile:
    """Returns the package's file, which is downloaded unless `folder` has it.

    Raises:
      UserError: it cannot be downloaded, or has other contents than recorded. With `accept_new` another version is
        taken, but never other contents under the recorded version.
    """
    if not _candidates(package, folder):
        folder.mkdir(parents=True, exist_ok=True)
        _download(package, folder, accept_new)
    files = {path: _sha256(path) for path in _candidates(package, folder)}
    for path, checksum in files.items():
        if checksum == package.sha256:
            return PackageFile(package, path, checksum)
    path, checksum = list(files.items())[-1]
    plain = path.name.replace("%3a", ":")
    is_same_version = f"{package.name}_{package.version}_" in plain or plain == f"{package.name}-{package.version}.tgz"
    if is_same_version:
        raise UserError(
            f"{path}: SHA-256 {checksum[:16]}..., expected {package.sha256[:16]}... for version {package.version}: the "
            "file is damaged or altered; delete it, and it is downloaded again"
        )
    if not accept_new:
        raise UserError(
            f"{path}: not the recorded version {package.version}: its contents are unknown. --accept_new_versions "
            "takes it as it is (figures will differ); or delete it"
        )
    return PackageFile(package, path, checksum)


def _candidates(package: Package, folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(package.pattern) if path.is_file() and not is_hidden(path.name))


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _hash(file)
    except OSError as e:
        raise UserError(f"{path}: cannot be read: {e.strerror}") from e


def _hash(file: io.BufferedReader) -> str:  # Python 3.10 has no file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _download(package: Package, folder: Path, accept_new: bool) -> None:
    """Downloads the recorded version; if it is no longer offered and `accept_new`, the version that is.

    The client writes into a folder of its own, so that a broken download leaves nothing that looks whole.
    """
    part = folder / f".{package.name}.part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        error = _run(package.commands["recorded"], part)
        not_offered = any(text in error for text in _NOT_OFFERED)
        if not_offered and accept_new:
            error = _run(package.commands["offered"], part)
        elif not_offered:
            update = "apt-get update may bring it; " if package.client == "apt-get" else ""
            raise UserError(
                f"{package.client} does not offer {package.name} {package.version}: {update}--accept_new_versions "
                f"takes the version it offers; or put the file from {package.page} into {folder}"
            )
        if error:
            network = "is there a network? " if any(text in error for text in _NO_NETWORK) else ""
            raise UserError(
                f"{package.name}: {package.client} cannot download it: {network}{error.splitlines()[-1].strip()} "
                f"(or put {package.pattern} from {package.page} into {folder})"
            )
        files = list(part.glob(package.pattern))
        if not files:
            raise UserError(f"{package.name}: {package.client} ended without error, but wrote no {package.pattern}")
        files[0].rename(folder / files[0].name)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _run(command: list[str], folder: Path) -> str:
    """Runs a client in a folder; returns what it printed if it failed, its error lines last, else ""."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode == 0:
        return ""
    lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"E:|npm (ERR!|error)", line)]
    return "\n".join(errors[:1] if errors and command[0] == "npm" else errors or lines) or f"status {done.returncode}"


def read_files(file: PackageFile, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yields (path inside the package, content) of the wanted regular files, in the order of the package.

    Raises:
      UserError: the package is damaged, or compressed in a way that needs a missing program.
    """
    try:
        content = file.path.read_bytes()
        archive = _data_of_deb(file.path, content) if file.package.client == "apt-get" else content
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if member.isfile() and wanted(name):
                    opened = tar.extractfile(member)
                    assert opened is not None
                    yield name, opened.read()
    except OSError as e:
        raise UserError(f"{file.path}: cannot be read: {e}") from e
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, ValueError) as e:
        raise UserError(f"{file.path}: a damaged package: {str(e).splitlines()[0]}") from e


def _data_of_deb(path: Path, content: bytes) -> bytes:
    """The tar archive data.tar.* in a .deb, which is an ar archive."""
    if not content.startswith(_AR_MAGIC):
        raise ValueError("no ar archive")
    position = len(_AR_MAGIC)
    while position + _AR_HEADER <= len(content):
        header = content[position : position + _AR_HEADER]
        name, size = header[:16].decode("ascii").strip().rstrip("/"), int(header[48:58])
        position += _AR_HEADER
        if name.startswith("data.tar"):
            if name.endswith(".zst"):  # Ubuntu's; tarfile reads gz, bz2 and xz
                return _with_dpkg(path)
            return content[position : position + size]
        position += size + size % 2
    raise ValueError("no data.tar in it")


def _with_dpkg(path: Path) -> bytes:
    if shutil.which("dpkg-deb") is None:
        raise UserError(f"{path}: compressed with zstd: install dpkg, which unpacks it")
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(path)], capture_output=True, check=False)
    if done.returncode:
        raise UserError(f"{path}: dpkg-deb cannot read it: {done.stderr.decode(errors='replace').strip()[-200:]}")
    return done.stdout
