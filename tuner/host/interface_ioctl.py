"""Requests to one network interface by ioctl: ethtool's, and the few that have a number of their own.

Source: net/core/dev_ioctl.c. Every one carries a struct ifreq: the name, and a pointer to the request's own structure.
"""

import ctypes
import errno
import fcntl
import os
import socket
import struct

from tuner.host.nics import valid_name

SIOCETHTOOL = 0x8946


def interface_request(ifname: str, number: int, request: bytes) -> bytes:
    """One ioctl with ``request`` as its buffer; what the kernel left in the buffer.

    Raises:
        OSError: as the kernel says it; ENODEV for a name that no interface can have.
    """
    if not valid_name(ifname):
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), ifname)
    buffer = ctypes.create_string_buffer(request, len(request))
    name = ifname.encode("utf-8", "surrogateescape")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, number, struct.pack("16sP16x", name, ctypes.addressof(buffer)))
    return buffer.raw


def ethtool_request(ifname: str, request: bytes) -> bytes:
    """One SIOCETHTOOL."""
    return interface_request(ifname, SIOCETHTOOL, request)
