"""The boot menu of a simulated host: settings as files, and what grub-mkconfig would make of them."""

import re
from typing import IO

from tuner.host import grub
from tuner.host.files import HostFiles
from tuner.host.simulated.writer import TreeWriter

_SETTINGS = 'GRUB_DEFAULT=0\nGRUB_TIMEOUT=5\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX=""\n'
_ADDS = re.compile(r'^GRUB_CMDLINE_LINUX_DEFAULT="\$\{?GRUB_CMDLINE_LINUX_DEFAULT\}? ([^"]*)"$', re.MULTILINE)
_KERNEL = "linux\t/boot/vmlinuz-simulated root=/dev/nvme0n1p2 ro"


def write_menu(tree: TreeWriter) -> None:
    """Settings without a file of ours, and the menu that follows from them."""
    tree.put(grub.SETTINGS, _SETTINGS)
    tree.directory(grub.DIRECTORY)
    tree.put(grub.MENU, _menu("quiet"), 0o600)


def _menu(arguments: str) -> str:
    entries = (("Simulated GNU/Linux", f" {arguments}"), ("Simulated GNU/Linux (recovery mode)", " single"))
    return "# made by grub-mkconfig\n" + "".join(
        f"menuentry '{title}' {{\n\t{_KERNEL} {more}\n\tinitrd\t/boot/initrd-simulated\n}}\n" for title, more in entries
    )


def stage(files: HostFiles, content: str) -> None:
    """As on a machine, with a grub-mkconfig that reads what we write."""

    def make(file: IO[bytes]) -> None:
        added = [match[1] for match in _ADDS.finditer(files.optional(grub.DROP_IN) or "")]
        file.write(_menu(" ".join(["quiet", *added])).encode())

    grub.stage(files, content, make, lambda _: None)
