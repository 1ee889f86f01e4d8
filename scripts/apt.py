# SPDX-License-Identifier: GPL-2.0
"""Packages from another Debian suite than the system's, fetched and unpacked
without installing anything: apt works on lists and caches of its own below
build/apt, with the mirror that the system itself uses, and checks signatures
and hashes as ever."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Iterator

from scripts.workbench import BUILD, StepFailed, locked, run_step

ETC = Path("/etc/apt")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
ENTRY = re.compile(r"(deb|deb-src)\s+(?:\[([^]]*)\]\s+)?(\S+)\s+(\S+)\s+(.*)")


def release() -> dict[str, str]:
    """What /etc/os-release says about the system."""
    try:
        text = Path("/etc/os-release").read_text()
    except FileNotFoundError:
        return {}
    return dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, re.M))


def available() -> bool:
    """Is this a Debian system with apt?"""
    return bool(release().get("ID") == "debian" and shutil.which("apt-get")
                and shutil.which("dpkg-deb"))


def one_line_entries(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """(URI, suite, components) of each deb line of a .list file."""
    for line in text.splitlines():
        entry = ENTRY.match(line.split("#")[0].strip())
        if entry and entry[1] == "deb":
            yield entry[3], entry[4], entry[5].split()


def deb822_entries(text: str) -> Iterator[tuple[str, str, list[str]]]:
    """(URI, suite, components) of each deb stanza of a .sources file."""
    for stanza in re.split(r"\n\s*\n", re.sub(r"(?m)^#.*\n?", "", text)):
        fields = {name.lower(): value.split() for name, value in re.findall(
                  r"(?m)^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza)}
        if "deb" in fields.get("types", []) and fields.get("enabled") != ["no"]:
            for uri in fields.get("uris", []):
                for suite in fields.get("suites", []):
                    yield uri, suite, fields.get("components", [])


def mirror(etc: Path = ETC) -> str:
    """The URI from which the system takes Debian main."""
    codename = release().get("VERSION_CODENAME", "")
    suites = {codename, release().get("VERSION_ID", ""), "stable", "testing",
              "unstable", "sid", "oldstable"}
    for path in [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        read = {".list": one_line_entries,
                ".sources": deb822_entries}.get(path.suffix)
        for uri, suite, components in read(path.read_text()) if read else ():
            if suite in suites and "main" in components and "debian" in uri \
                    and not uri.startswith("cdrom:"):
                return uri
    raise StepFailed(f"no entry in {etc} serves Debian {codename} main, so there "
                     "is no mirror to take a newer package from")


def options(home: Path) -> list[str]:
    """Options that keep apt inside @home."""
    settings = {
        "Dir::Etc::SourceList": home / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::State::Lists": home / "lists",
        "Dir::Cache": home / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": 2,
        "Acquire::http::Timeout": 30,
        "Acquire::https::Timeout": 30,
    }
    return [word for name, value in settings.items()
            for word in ("-o", f"{name}={value}")]


def prepare(suite: str) -> Path:
    """The folder in which apt works for @suite, its package lists fresh."""
    if not available():
        raise StepFailed("not a Debian system, or apt-get is missing")
    if not KEYRING.exists():
        raise StepFailed(f"{KEYRING} is missing: apt-get install "
                         "debian-archive-keyring")
    home = BUILD / "apt" / suite
    for folder in ("lists/partial", "cache/archives/partial"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / "sources.list").write_text("".join(
        f"{kind} [signed-by={KEYRING}] {mirror()} {suite} main\n"
        for kind in ("deb", "deb-src")))
    # without this option apt counts an unreachable mirror as a mere warning
    run_step(f"Package lists of {suite}",
             ["apt-get", *options(home), "-o", "APT::Update::Error-Mode=any",
              "update"], timeout=300)
    return home


def newest(paths: Iterator[Path]) -> Path | None:
    """The one with the highest Debian version of NAME_VERSION[_ARCH].EXT."""
    best = None
    for path in paths:
        if best is None or subprocess.run(
                ["dpkg", "--compare-versions", version(path), "gt",
                 version(best)], check=False).returncode == 0:
            best = path
    return best


def version(path: Path) -> str:
    """The version in a package's file name."""
    return path.name.split("_")[1].removesuffix(".dsc").replace("%3a", ":")


def fetch_deb(package: str, suite: str) -> Path:
    """@package of @suite as a .deb file; what was fetched once is kept."""
    with locked(f"apt-{suite}"):
        home = BUILD / "apt" / suite
        if cached := newest(home.glob(f"{package}_*.deb")):
            return cached
        prepare(suite)
        fetch = home / "partial"
        shutil.rmtree(fetch, ignore_errors=True)
        fetch.mkdir()
        run_step(f"Fetch {package} from {suite}",
                 ["apt-get", *options(home), "download", package], cwd=fetch,
                 timeout=1800)
        found = newest(fetch.glob(f"{package}_*.deb"))
        if not found:
            raise StepFailed(f"apt-get download {package} left no .deb")
        return found.rename(home / found.name)


def fetch_source(package: str, suite: str, version_prefix: str) -> Path:
    """The .dsc of @package of @suite, its files beside it, hashes checked;
    refuses a version that does not start with @version_prefix."""
    with locked(f"apt-{suite}"):
        home = BUILD / "apt" / suite
        done = home / f"src-{package}"
        pattern = f"{package}_*.dsc"
        found = newest(done.glob(pattern))
        if not found:
            prepare(suite)
            fetch = home / "partial"
            shutil.rmtree(fetch, ignore_errors=True)
            fetch.mkdir()
            run_step(f"Fetch source of {package} from {suite}",
                     ["apt-get", *options(home), "--only-source",
                      "--download-only", "source", package], cwd=fetch,
                     timeout=1800)
            shutil.rmtree(done, ignore_errors=True)
            os.rename(fetch, done)
            found = newest(done.glob(pattern))
        if not found:
            raise StepFailed(f"apt-get source {package} left no .dsc")
    upstream = version(found).split(":")[-1]
    if not upstream.startswith(version_prefix):
        raise StepFailed(f"{suite} has {package} {upstream}, "
                         f"{version_prefix}* is needed")
    return found


def unpack(deb: Path, folder: Path) -> None:
    """Unpack @deb into @folder, which gets its name when all is there."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    run_step(f"Unpack {deb.name}", ["dpkg-deb", "-x", deb, partial], timeout=600)
    partial.rename(folder)
