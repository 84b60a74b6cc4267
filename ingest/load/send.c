/* Sends numbered MoldUDP64 datagrams out of a packet socket at a paced rate.
 *
 * Loaded by ctypes, which releases the interpreter's lock during the call; nothing of Python is included. The socket comes
 * open and bound, with PACKET_QDISC_BYPASS set. Each datagram holds one message: session (10 bytes), sequence (8, big-endian)
 * and count (2), as in MoldUDP64 1.00. The streams are destination ports, served in turn, each numbered from 1.
 *
 * ingest/load/frames.py builds the same frame in Python; a test compares them. Whoever changes struct sending raises ABI here
 * and in ingest/load/send_native.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    ABI = 1,
    BATCH = 32, /* measured best: 1.45 M packets/s one by one, 1.92 in batches of 32, 1.84 of 256 */
    SHORTEST = 62,
    LONGEST = 1514,
    IP_AT = 14,
    UDP_AT = 34,
    SEQUENCE_AT = 52,
    HEADER = 62,
    SHORTEST_SLEEP_NS = 20000,
    LONGEST_SLEEP_NS = 20000000, /* how long a stop may have to wait */
};

struct sending {
    uint64_t rate_per_s;  /* 0: as fast as it goes */
    uint64_t packets;     /* end after so many */
    uint64_t duration_ns; /* or after so long */
    uint64_t sent, elapsed_ns, refused;
    int32_t fd;
    uint32_t bytes_min, bytes_max;
    uint32_t streams, first_port;
    uint32_t stop;
    uint8_t header[HEADER]; /* of a frame of bytes_min bytes, for the first port */
    uint8_t reserved[2];
};

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

static void set_length(uint8_t *frame, uint32_t bytes)
{
    uint32_t sum = 0;
    put(frame + IP_AT + 2, bytes - IP_AT, 2);
    put(frame + IP_AT + 10, 0, 2);
    for (int at = IP_AT; at < UDP_AT; at += 2)
        sum += (uint32_t)frame[at] << 8 | frame[at + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    put(frame + IP_AT + 10, ~(sum + (sum >> 16)) & 0xffff, 2);
    put(frame + UDP_AT + 4, bytes - UDP_AT, 2);
}

/* How many packets are due after so many nanoseconds; exact for rates below 18 billion. */
static uint64_t due(const struct sending *load, uint64_t elapsed_ns)
{
    if (!load->rate_per_s)
        return UINT64_MAX;
    uint64_t seconds = elapsed_ns / 1000000000u, rest_ns = elapsed_ns % 1000000000u;
    return seconds * load->rate_per_s + rest_ns * load->rate_per_s / 1000000000u;
}

static void sleep_until_due(const struct sending *load, uint64_t start_ns, uint64_t now)
{
    double next = (double)(load->sent + 1) * 1e9 / (double)load->rate_per_s;
    uint64_t wake = start_ns + (uint64_t)next;
    if (wake < now + SHORTEST_SLEEP_NS)
        wake = now + SHORTEST_SLEEP_NS;
    if (wake > now + LONGEST_SLEEP_NS)
        wake = now + LONGEST_SLEEP_NS;
    struct timespec until = {.tv_sec = (time_t)(wake / 1000000000u), .tv_nsec = (long)(wake % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

/* Between bytes_min and bytes_max: the upper bits of a linear congruence, the same in every run. */
static uint32_t next_size(const struct sending *load, uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return load->bytes_min + (uint32_t)((uint64_t)*state * (load->bytes_max - load->bytes_min + 1) >> 32);
}

EXPORT uint32_t quietcore_send_abi(void)
{
    return ABI;
}

EXPORT uint32_t quietcore_send_size(void)
{
    return sizeof(struct sending);
}

/* Returns 0 at the end, or the errno that ended it; sent, elapsed_ns and refused are right either way. */
EXPORT int quietcore_send_run(struct sending *load)
{
    uint8_t frames[BATCH][LONGEST];
    struct mmsghdr messages[BATCH];
    struct iovec vectors[BATCH];
    uint32_t state = 1;
    int failed = 0;

    if (load->bytes_min < SHORTEST || load->bytes_max > LONGEST || load->bytes_min > load->bytes_max || !load->streams)
        return EINVAL;
    memset(frames, 0, sizeof frames);
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BATCH; i++) {
        memcpy(frames[i], load->header, HEADER);
        vectors[i] = (struct iovec){frames[i], load->bytes_min};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* of this thread; 50 us otherwise */
    uint64_t start_ns = now_ns(), now = start_ns;
    while (load->sent < load->packets && !__atomic_load_n(&load->stop, __ATOMIC_RELAXED)) {
        now = now_ns();
        if (now - start_ns >= load->duration_ns)
            break;
        uint64_t until = due(load, now - start_ns);
        if (until > load->packets)
            until = load->packets;
        if (until <= load->sent) {
            sleep_until_due(load, start_ns, now);
            continue;
        }
        /* A sender that was held up catches up batch by batch: more at once would not fit into the CPU's backlog. */
        uint64_t count = until - load->sent < BATCH ? until - load->sent : BATCH;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t number = load->sent + i;
            if (load->bytes_min != load->bytes_max) {
                vectors[i].iov_len = next_size(load, &state);
                set_length(frames[i], (uint32_t)vectors[i].iov_len);
            }
            put(frames[i] + UDP_AT + 2, load->first_port + number % load->streams, 2);
            put(frames[i] + SEQUENCE_AT, number / load->streams + 1, 8);
        }
        int done = sendmmsg(load->fd, messages, (unsigned)count, 0);
        if (done > 0) {
            load->sent += (uint64_t)done;
        } else if (errno == ENOBUFS || errno == EAGAIN || errno == EINTR) {
            load->refused++; /* not sent: its number is used again, once ksoftirqd has had its turn */
            sched_yield();
        } else {
            failed = errno;
            break;
        }
    }
    load->elapsed_ns = now_ns() - start_ns;
    return failed;
}
