# SPDX-License-Identifier: GPL-2.0
"""make series: the mails of the series in build/series, one file each and all
in series.mbox, as git am and b4 take them."""

import hashlib
import re
import shutil

from scripts import base, git, patchset, tree
from scripts.patchset import Commit
from scripts.workbench import BUILD, LINUX, PATCHES, StepFailed, die, locked, say

SERIES = BUILD / "series"
MBOX = "series.mbox"
COVER = PATCHES / "0000-cover-letter.txt"


def base_text(on: base.Base) -> str:
    """Which commit the mails apply to, and what it is."""
    if on.upstream:
        return (f"Made on Linux {on.version} of the git tree named by KERNEL=; "
                f"base-commit is\nthat tree's.\n\nbase-commit: {on.upstream}\n")
    tree_hash = git.git(LINUX, "rev-parse", f"{on.commit}^{{tree}}")
    return (f"Made on {on},\nas imported into build/linux; base-commit is a commit "
            f"of that repository,\nwith the tree {tree_hash}.\n\n"
            f"base-commit: {on.commit}\n")


def mails(on: base.Base, tip: str) -> dict[str, str]:
    """File name and text of each mail, in order."""
    commits = patchset.commits(LINUX, on.commit, tip)
    if not commits:
        raise StepFailed("the series has no patches, so there is nothing to mail")
    thread = hashlib.sha256(tip.encode()).hexdigest()[:24]
    ids = [f"<{thread}.{number}@workbench.localhost>"
           for number in range(len(commits) + 1)]
    found = {"0000-cover-letter.patch": cover(on, commits, ids[0])}
    for number, commit in enumerate(commits, 1):
        found[f"{number:04d}-{commit.slug}.patch"] = patch_mail(
            commit, prefix(number, len(commits)), ids[number], ids[0])
    return found


def prefix(number: int, count: int) -> str:
    return f"PATCH {number:0{len(str(count))}d}/{count}"


def patch_mail(commit: Commit, subject_prefix: str, own_id: str,
               cover_id: str) -> str:
    head = patchset.mail_head(
        LINUX, commit, subject_prefix, f"--add-header=Message-ID: {own_id}",
        f"--add-header=In-Reply-To: {cover_id}",
        f"--add-header=References: {cover_id}")
    header, _, body = head.partition("\n\n")
    # b4 0.12 stops at a header that goes on in the next line
    head = re.sub(r"\n[ \t]+", " ", header) + "\n\n" + body
    notes = "\n".join(line for line in commit.notes.splitlines()
                      if line != patchset.TESTS_ONLY).strip("\n")
    return (head + patchset.SEPARATOR + (f"{notes}\n\n" if notes else "")
            + patchset.hunks(LINUX, commit, "--stat", "--summary"))


def cover(on: base.Base, commits: list[Commit], own_id: str) -> str:
    try:
        subject, _, text = COVER.read_text().partition("\n")
    except FileNotFoundError:
        raise StepFailed(f"{COVER} is missing: its first line is the subject, the "
                         "rest the text of the cover letter") from None
    if patchset.SIGNED.search(text):
        raise StepFailed(f"{COVER} has a Signed-off-by; whoever submits gives it")
    if cut := patchset.CUTS_MESSAGE.search(text):
        raise StepFailed(f"{COVER}: a line begins with '{cut[0]}', where git am or "
                         "b4 would end the message")
    last = commits[-1]
    author, date = git.lines(LINUX, "show", "-s", "--format=%an <%ae>%n%aD",
                             last.hash)
    header = [f"From {'0' * 40} Mon Sep 17 00:00:00 2001",
              f"Message-ID: {own_id}", f"From: {author}", f"Date: {date}",
              f"Subject: [{prefix(0, len(commits))}] {subject.strip()}",
              "MIME-Version: 1.0", "Content-Type: text/plain; charset=UTF-8",
              "Content-Transfer-Encoding: 8bit"]
    shortlog = git.git(LINUX, "shortlog", "-w72,2,4", f"{on.commit}..{last.hash}")
    stat = git.git(LINUX, "diff", "--stat", "--summary", on.commit, last.hash)
    return "\n".join(["\n".join(header), "", text.strip("\n"), "",
                      shortlog.rstrip("\n"), "", stat, "", base_text(on)])


def make_series() -> None:
    with locked("tree"):
        on = base.recorded()
        tip = git.resolve(LINUX, tree.marks(LINUX)[0]) if on else None
        if not on or not tip:
            raise StepFailed("build/linux has no series yet: make tree")
        if work := tree.unrefreshed():
            say(f"note: build/linux has {work} that patches/ does not have, and "
                "the mails do not either: make refresh")
        partial = SERIES.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        found = mails(on, tip)
        for name, text in found.items():
            patchset.write(partial / name, text)
        patchset.write(partial / MBOX, "\n".join(found.values()))
        shutil.rmtree(SERIES, ignore_errors=True)
        partial.rename(SERIES)
    say(f"{SERIES}: {len(found) - 1} patches and their cover letter, all in {MBOX}")


def main() -> None:
    try:
        make_series()
    except StepFailed as error:
        die(str(error))


if __name__ == "__main__":
    main()
