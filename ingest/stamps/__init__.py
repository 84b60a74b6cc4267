"""From the NIC's stamp to the kernel's: a sample of packets with both."""
