/* Sends numbered MoldUDP64-like datagrams out of one interface at a paced rate: the tests' own load.
 *
 * usage: sender INTERFACE PACKETS PER_SECOND BYTES [STREAMS [CPU [FIRST [OTHER EVERY PORT]]]]
 * Prints how many packets were sent. The packets of a stream are numbered from FIRST (1), one message each; CPU -1: any. After
 * EVERY packets the sender moves to the CPU OTHER, and back (0: it stays). The streams go to the ports from PORT (30001) on.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum { BATCH = 32, LARGEST = 1514, UDP_AT = 34, SEQUENCE_AT = 52 };

static uint8_t frames[BATCH][LARGEST];
static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];

static uint64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static void make(uint8_t *frame, int bytes)
{
    static const uint8_t to[6] = {0x01, 0, 0x5e, 1, 1, 1}, from[6] = {2, 0, 0, 0, 0, 1};
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    put(frame + 12, 0x0800, 2);
    frame[14] = 0x45;
    put(frame + 16, (uint64_t)bytes - 14, 2);
    frame[22] = 1; /* TTL */
    frame[23] = 17;
    put(frame + 26, 0x0a000001, 4);
    put(frame + 30, 0xef010101, 4); /* 239.1.1.1 */
    put(frame + UDP_AT, 30000, 2);
    put(frame + UDP_AT + 4, (uint64_t)bytes - UDP_AT, 2);
    memcpy(frame + 42, "QUIETCORE0", 10);
    put(frame + 60, 1, 2);
}

static void move_to(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof set, &set);
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    uint64_t packets = strtoull(argv[2], NULL, 10), rate = strtoull(argv[3], NULL, 10), sent = 0;
    int bytes = atoi(argv[4]), streams = argc > 5 ? atoi(argv[5]) : 1;
    if (bytes < 62 || bytes > LARGEST || streams < 1 || rate < 1)
        return 2;
    uint64_t first = argc > 7 ? strtoull(argv[7], NULL, 10) : 1;
    int cpu = argc > 6 ? atoi(argv[6]) : -1, other = argc > 8 ? atoi(argv[8]) : -1;
    uint64_t every = argc > 9 ? strtoull(argv[9], NULL, 10) : 0, port = argc > 10 ? strtoull(argv[10], NULL, 10) : 30001;
    uint64_t moves = 0;
    if (cpu >= 0)
        move_to(cpu);
    int fd = socket(AF_PACKET, SOCK_RAW, 0), bypass = 1;
    struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[1])};
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address)) {
        perror("sender");
        return 1;
    }
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof bypass);
    for (int i = 0; i < BATCH; i++) {
        make(frames[i], bytes);
        vectors[i] = (struct iovec){frames[i], (size_t)bytes};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    uint64_t start = now_ns();
    while (sent < packets) {
        uint64_t due = (uint64_t)((double)(now_ns() - start) * (double)rate / 1e9), count = due > sent ? due - sent : 0;
        if (count > packets - sent)
            count = packets - sent;
        if (count > BATCH)
            count = BATCH; /* a sender that was stopped catches up without a burst that no backlog holds */
        if (!count) {
            struct timespec pause = {.tv_nsec = 20000};
            clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
            continue;
        }
        for (uint64_t i = 0; i < count; i++) {
            put(frames[i] + UDP_AT + 2, port + (sent + i) % (uint64_t)streams, 2);
            put(frames[i] + SEQUENCE_AT, (sent + i) / (uint64_t)streams + first, 8);
        }
        int done = sendmmsg(fd, messages, (unsigned)count, 0);
        if (done > 0) {
            sent += (uint64_t)done;
        } else if (errno != ENOBUFS && errno != EAGAIN) {
            perror("sender");
            break;
        }
        if (every && sent / every > moves)
            move_to(++moves % 2 ? other : cpu);
    }
    printf("%llu\n", (unsigned long long)sent);
    return sent == packets ? 0 : 1;
}
