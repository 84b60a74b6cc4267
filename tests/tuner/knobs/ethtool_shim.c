/* Loaded before libc into ethtool(8): stands in for a NIC of 8 queues, a table of 128 entries, a key of 40 bytes and a flow table
 * of 16 places, and writes down what it is asked to set, in hexadecimal, into the file that QUIETCORE_SHIM names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

static void write_down(const void *raw, size_t size) {
  FILE *file = fopen(getenv("QUIETCORE_SHIM"), "a");
  for (size_t i = 0; i < size; i++) fprintf(file, "%02x", ((const unsigned char *)raw)[i]);
  fputc('\n', file);
  fclose(file);
}

int ioctl(int fd, unsigned long number, ...) {
  va_list rest;
  va_start(rest, number);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  if (number != SIOCETHTOOL) return ((int (*)(int, unsigned long, void *))dlsym(RTLD_NEXT, "ioctl"))(fd, number, argument);
  void *raw = (void *)((struct ifreq *)argument)->ifr_data;
  struct ethtool_rxnfc *flow = raw;
  struct ethtool_rxfh *spread = raw;
  switch (*(__u32 *)raw) {
    case ETHTOOL_GRXRINGS: flow->data = 8; return 0;
    case ETHTOOL_GRXCLSRLCNT: flow->rule_cnt = 0; flow->data = 0; return 0;
    case ETHTOOL_GRXCLSRLALL: flow->rule_cnt = 0; flow->data = 16; return 0;
    case ETHTOOL_SRXCLSRLINS:
    case ETHTOOL_SRXFH: write_down(raw, sizeof *flow); return 0;
    case ETHTOOL_GRSSH:
      if (spread->indir_size) for (int i = 0; i < 128; i++) spread->rss_config[i] = i % 8;
      spread->indir_size = 128;
      spread->key_size = 40;
      spread->hfunc = 1;
      return 0;
    case ETHTOOL_SRSSH: {
      size_t entries = spread->indir_size == ETH_RXFH_INDIR_NO_CHANGE ? 0 : spread->indir_size;
      write_down(raw, sizeof *spread + 4 * entries + spread->key_size);
      return 0;
    }
  }
  errno = EOPNOTSUPP;
  return -1;
}
