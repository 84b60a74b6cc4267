/* Walks packet rings where they lie: no copy, no allocation, no system call per packet.
 *
 * Loaded by ctypes (which releases the interpreter's lock during a call), so nothing of Python is included here. The layouts
 * are those of linux/if_packet.h, TPACKET_V2 (fixed frames) and TPACKET_V3 (blocks of packed frames), written out as offsets
 * because every field is hostile until it was checked against the end of its frame or block.
 *
 * ingest/rings/walk_python.py does the same in Python; tests hold the two to identical counters. Whoever changes a structure
 * or the meaning of a field here raises ABI, there and in ingest/rings/walk_native.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define EXPORT __attribute__((visibility("default")))

enum {
    ABI = 2,
    SUB_BUCKETS = 16, /* per power of two: a bucket is at most 6.25 % wide */
    BUCKETS = 592,    /* up to 2^40 ns, 18 minutes */
    STREAMS = 64,
    WINDOW = 8192, /* sequence numbers behind the newest for which late and repeated are told apart */
    OUTSIDE_RUN = 16,
    BATCH = 64,

    STATUS_USER = 1,
    STATUS_LOSING = 4,

    V2_HEADER = 52, /* tpacket2_hdr aligned to 16, then sockaddr_ll: no packet starts before */
    V2_PROTOCOL = 34,
    V3_HEADER = 68,
    V3_PROTOCOL = 50,
    V3_BLOCK_HEADER = 48,

    AHEAD = 4096, /* bytes; 4 x on a ring that is larger than the cache, measured best between 256 and 8192 */
    LINE = 64,

    SHAPE_64_16 = 1, /* big-endian sequence of 8 bytes and count of 2, where a count of 1 means one */
};

/* Where gcc leaves these out of line, their arguments travel through memory: half of the time per packet. */
#define INLINE static inline __attribute__((always_inline))
#define OUT_OF_LINE static __attribute__((noinline))

#define SECOND_NS 1000000000u
#define FAR_AHEAD (UINT64_C(1) << 31)
#define LAST_SEQUENCE (UINT64_C(1) << 63)

struct ring {
    uint8_t *memory;
    uint64_t fixed_now_ns; /* for tests; 0: the clock */
    uint32_t version;      /* 2 or 3 */
    uint32_t unit_bytes;   /* of a frame (V2) or a block (V3) */
    uint32_t units;
    uint32_t cursor;
    struct tape *tape; /* NULL: packets are not kept */
    uint64_t packets, bytes, truncated, malformed_frames, malformed_blocks, losing, negative, max_ns;
    uint64_t buckets[BUCKETS];
};

/* Where a UDP payload holds its sequence number; offsets and widths in bytes. */
struct framing {
    uint32_t port; /* destination; 0: every port */
    uint32_t sequence_offset, sequence_width;
    uint32_t count_offset, count_width; /* width 0: a packet is one number */
    uint32_t big_endian;
    uint32_t end_count; /* a count that means none, as 0 does; 0 where the format has no such */
    uint32_t needed;    /* the walker's own: bytes of payload up to the end of both fields */
    uint32_t shape;     /* the walker's own: SHAPE_64_16 for the widths that MoldUDP64 and its kin have, else 0 */
    uint32_t reserved;
};

struct stream {
    uint64_t address[2];   /* as on the wire; IPv4: the first four bytes */
    uint32_t port, family; /* family 4 or 6; 0: the slot is free */
    uint32_t outside_run, reserved;
    uint64_t newest_stamp; /* of the datagram with the highest number */
    uint64_t first, expected, received, lost, duplicate, reordered, outside, resets, heartbeats;
    uint64_t seen[WINDOW / 64];
};

struct sequences {
    struct framing framing;
    uint64_t unread, unfollowed;
    struct stream streams[STREAMS];
};

struct reader {
    struct ring *rings;
    struct pollfd *polled;       /* one for each ring, then the one that ends the wait */
    struct sequences *sequences; /* NULL: no accounting */
    uint64_t until_ns;           /* CLOCK_MONOTONIC */
    uint64_t pause_ns;           /* between two drains that found packets; 0: wait by poll alone */
    uint32_t count;
    uint32_t failed; /* which ring's socket reported an error */
    uint32_t stop;
    uint32_t reserved;
};

enum { ENDED_DEADLINE = 0, ENDED_STOPPED = 1, ENDED_FAILED = 2 };

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers in packets are swapped as on little-endian processors");

static inline uint16_t load16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

static inline uint32_t big16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

/* The kernel publishes with a write barrier and a plain store (net/packet/af_packet.c); we need the matching half. */
static inline uint32_t status_of(const uint8_t *at)
{
    return __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

static inline void hand_back(uint8_t *at)
{
    __atomic_store_n((uint32_t *)(void *)at, 0, __ATOMIC_RELEASE);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * SECOND_NS + (uint64_t)time.tv_nsec;
}

static inline uint64_t now_of(const struct ring *ring)
{
    return ring->fixed_now_ns ? ring->fixed_now_ns : clock_ns(CLOCK_REALTIME);
}

static inline uint32_t bucket_of(uint64_t value)
{
    if (value < SUB_BUCKETS)
        return (uint32_t)value;
    uint32_t power = 63u - (uint32_t)__builtin_clzll(value);
    uint32_t index = (power - 3) * SUB_BUCKETS + (uint32_t)(value >> (power - 4) & (SUB_BUCKETS - 1));
    return index < BUCKETS ? index : BUCKETS - 1;
}

/* ---- sequence accounting ------------------------------------------------------------------------------------------- */

static inline int seen(const struct stream *stream, uint64_t number)
{
    return stream->seen[number % WINDOW / 64] >> (number % 64) & 1;
}

static void mark(struct stream *stream, uint64_t from, uint64_t count, int value)
{
    for (uint64_t number = from; number < from + count; number++) {
        uint64_t bit = UINT64_C(1) << (number % 64), *word = &stream->seen[number % WINDOW / 64];
        *word = value ? *word | bit : *word & ~bit;
    }
}

/* The newest numbers: [sequence, sequence + count), where nothing from expected on was seen before. */
static void leap(struct stream *stream, uint64_t sequence, uint64_t count)
{
    uint64_t gap = sequence - stream->expected, end = sequence + count;
    if (gap + count >= WINDOW) {
        uint64_t kept = count < WINDOW ? count : WINDOW;
        memset(stream->seen, 0, sizeof stream->seen);
        mark(stream, end - kept, kept, 1);
    } else {
        mark(stream, stream->expected, gap, 0);
        mark(stream, sequence, count, 1);
    }
    stream->lost += gap;
    stream->received += count;
    stream->expected = end;
}

static inline void advance(struct stream *stream, uint64_t sequence, uint64_t count)
{
    if (sequence != stream->expected || count != 1) {
        leap(stream, sequence, count);
        return;
    }
    stream->seen[sequence % WINDOW / 64] |= UINT64_C(1) << (sequence % 64);
    stream->received++;
    stream->expected++;
}

static void start(struct stream *stream, uint64_t sequence, uint64_t count, uint64_t stamp)
{
    stream->first = stream->expected = sequence;
    stream->outside_run = 0;
    stream->newest_stamp = stamp;
    advance(stream, sequence, count);
}

/* Numbers behind the newest: each was either counted as lost and comes late, or it is a repetition. One that was stamped
 * before the newest was not reordered on its way: it lay in another CPU's ring, which was read later. */
static void late(struct stream *stream, uint64_t sequence, uint64_t count, uint64_t stamp)
{
    uint64_t old = stream->expected - sequence;
    for (uint64_t number = sequence; number < sequence + (count < old ? count : old); number++) {
        if (seen(stream, number)) {
            stream->duplicate++;
        } else {
            mark(stream, number, 1, 1);
            stream->reordered += stamp >= stream->newest_stamp;
            stream->received++;
            stream->lost--;
        }
    }
    if (count > old) {
        advance(stream, stream->expected, count - old);
        stream->newest_stamp = stamp;
    }
}

/* A stray packet must not count as billions lost; a sequence that began anew must not stay unfollowed. */
static void stray(struct stream *stream, uint64_t sequence, uint64_t count, uint64_t stamp)
{
    stream->outside++;
    if (++stream->outside_run < OUTSIDE_RUN)
        return;
    stream->resets++;
    start(stream, sequence, count, stamp);
}

static inline void follow(struct stream *stream, uint64_t sequence, uint64_t count, uint64_t stamp)
{
    uint64_t ahead = sequence - stream->expected, behind = stream->expected - sequence;
    if (sequence >= stream->expected ? ahead > FAR_AHEAD : behind > WINDOW || sequence < stream->first) {
        stray(stream, sequence, count, stamp);
        return;
    }
    stream->outside_run = 0;
    stream->heartbeats += count == 0;
    if (sequence < stream->expected) {
        late(stream, sequence, count, stamp);
    } else {
        advance(stream, sequence, count);
        stream->newest_stamp = stamp;
    }
}

struct udp {
    const uint8_t *payload;
    uint64_t address[2], stamp;
    uint32_t family, port, size; /* bytes of payload that were captured */
};

static inline uint32_t slot_of(uint64_t address, uint32_t port)
{
    return ((uint32_t)address ^ (uint32_t)(address >> 32) ^ port) * 2654435761u >> 26;
}

static inline struct stream *stream_of(struct sequences *sequences, const struct udp *udp)
{
    uint32_t slot = slot_of(udp->address[0] ^ udp->address[1], udp->port);
    for (uint32_t probe = 0; probe < STREAMS; probe++) {
        struct stream *stream = &sequences->streams[(slot + probe) % STREAMS];
        if (stream->port == udp->port && stream->family == udp->family && stream->address[0] == udp->address[0] &&
            stream->address[1] == udp->address[1])
            return stream;
        if (stream->family == 0) {
            memcpy(stream->address, udp->address, sizeof stream->address);
            stream->port = udp->port;
            stream->family = udp->family;
            return stream;
        }
    }
    return NULL;
}

static inline uint64_t number_at(const uint8_t *at, uint32_t width, uint32_t big_endian)
{
    uint64_t value;
    switch (width) {
    case 8:
        memcpy(&value, at, 8);
        break;
    case 4:
        value = load32(at);
        break;
    case 2:
        value = load16(at);
        break;
    default:
        return at[0];
    }
    return big_endian ? __builtin_bswap64(value) >> (64 - 8 * width) : value;
}

static inline uint64_t count_at(const struct framing *framing, const uint8_t *payload)
{
    if (!framing->count_width)
        return 1;
    uint64_t count = number_at(payload + framing->count_offset, framing->count_width, framing->big_endian);
    return framing->end_count && count == framing->end_count ? 0 : count;
}

static inline uint64_t sequence_at(const struct framing *framing, const uint8_t *payload)
{
    return number_at(payload + framing->sequence_offset, framing->sequence_width, framing->big_endian);
}

static void numbered(struct sequences *sequences, const struct udp *udp)
{
    uint64_t sequence;
    if (udp->size < sequences->framing.needed || (sequence = sequence_at(&sequences->framing, udp->payload)) > LAST_SEQUENCE) {
        sequences->unread++;
        return;
    }
    uint64_t count = count_at(&sequences->framing, udp->payload);
    struct stream *stream = stream_of(sequences, udp);
    if (!stream) {
        sequences->unfollowed++;
        return;
    }
    if (stream->received || stream->expected)
        follow(stream, sequence, count, udp->stamp);
    else
        start(stream, sequence, count, udp->stamp);
}

/* The datagram that nearly every datagram is: IPv4 without options, whole, with the next number of a stream in its own slot.
 * Returns 0, with nothing done, for every other. */
INLINE int next_in_order(struct sequences *sequences, const uint8_t *at, uint32_t size, uint32_t protocol, uint64_t stamp)
{
    const struct framing *framing = &sequences->framing;
    uint32_t needed = framing->needed + 8;
    if (protocol != 0x0800 || size < 20 + needed || at[0] != 0x45 || (load32(at + 6) & 0xff00ff3f) != 17u << 24 ||
        big16(at + 24) < needed)
        return 0;
    uint32_t address = load32(at + 16), port = big16(at + 22);
    struct stream *stream = &sequences->streams[slot_of(address, port)];
    if (address != stream->address[0] || port != stream->port || stream->family != 4 || stream->expected > LAST_SEQUENCE)
        return 0;
    const uint8_t *payload = at + 28;
    if (framing->shape == SHAPE_64_16) {
        uint64_t sequence;
        memcpy(&sequence, payload + framing->sequence_offset, 8);
        if (__builtin_bswap64(sequence) != stream->expected || load16(payload + framing->count_offset) != 0x0100)
            return 0;
    } else if (sequence_at(framing, payload) != stream->expected || count_at(framing, payload) != 1) {
        return 0;
    }
    advance(stream, stream->expected, 1);
    stream->outside_run = 0;
    stream->newest_stamp = stamp;
    return 1;
}

/* at: the network header; size: captured bytes from there; protocol: its ethertype as the kernel found it. */
OUT_OF_LINE void datagram(struct sequences *sequences, const uint8_t *at, uint32_t size, uint32_t protocol, uint64_t stamp)
{
    for (int tags = 0; tags < 2 && (protocol == 0x8100 || protocol == 0x88a8) && size >= 4; tags++) {
        protocol = big16(at + 2);
        at += 4;
        size -= 4;
    }
    struct udp udp = {.stamp = stamp};
    uint32_t header;
    if (protocol == 0x0800) {
        if (size < 20 || at[0] >> 4 != 4 || at[9] != 17)
            return;
        if (big16(at + 6) & 0x3fff) { /* a fragment: only the first has ports, and none has a whole payload */
            sequences->unread++;
            return;
        }
        header = (at[0] & 15u) * 4;
        if (header < 20)
            return;
        udp.family = 4;
        udp.address[0] = load32(at + 16); /* a copy of 4 bytes that is then read as 8 would wait for the store */
    } else if (protocol == 0x86dd) {
        if (size < 40 || at[0] >> 4 != 6 || at[6] != 17)
            return;
        header = 40;
        udp.family = 6;
        memcpy(udp.address, at + 24, 16);
    } else {
        return;
    }
    if (size < header + 8) {
        sequences->unread++;
        return;
    }
    udp.port = big16(at + header + 2);
    if (sequences->framing.port && udp.port != sequences->framing.port)
        return;
    /* Ethernet pads short frames: what the UDP length does not cover is no payload. */
    uint32_t captured = size - header - 8, length = big16(at + header + 4), sent = length < 8 ? 0 : length - 8;
    udp.size = captured < sent ? captured : sent;
    udp.payload = at + header + 8;
    numbered(sequences, &udp);
}

/* ---- frames and blocks --------------------------------------------------------------------------------------------- */

struct frame {
    const uint8_t *at;
    uint32_t size; /* no byte of the frame lies beyond */
    uint32_t header, protocol_offset;
    uint32_t status, length, captured, mac, net, seconds, nanoseconds;
};

#include "tape.h"

INLINE void account(struct ring *ring, struct sequences *sequences, const struct frame *frame, uint64_t now)
{
    if (frame->mac < frame->header || frame->net < frame->mac || frame->captured > frame->length ||
        (uint64_t)frame->mac + frame->captured > frame->size || frame->nanoseconds >= SECOND_NS) {
        ring->malformed_frames++;
        return;
    }
    ring->packets++;
    ring->bytes += frame->length;
    ring->truncated += frame->captured < frame->length;
    ring->losing += (frame->status & STATUS_LOSING) != 0;
    uint64_t stamp = (uint64_t)frame->seconds * SECOND_NS + frame->nanoseconds;
    if (stamp > now) { /* the wall clock was set back between the two readings */
        ring->negative++;
    } else {
        uint64_t latency = now - stamp;
        ring->buckets[bucket_of(latency)]++;
        if (latency > ring->max_ns)
            ring->max_ns = latency;
    }
    if (ring->tape)
        tape_packet(ring, frame, stamp);
    uint32_t end = frame->mac + frame->captured;
    if (sequences && frame->net < end) {
        const uint8_t *packet = frame->at + frame->net;
        uint32_t size = end - frame->net, protocol = big16(frame->at + frame->protocol_offset);
        if (!next_in_order(sequences, packet, size, protocol, stamp))
            datagram(sequences, packet, size, protocol, stamp);
    }
}

static inline void prefetch(const uint8_t *at, uint32_t lines)
{
    for (uint32_t line = 0; line < lines; line++)
        __builtin_prefetch((const void *)((uintptr_t)at + AHEAD + line * LINE));
}

static void walk_block(struct ring *ring, struct sequences *sequences, const uint8_t *block)
{
    uint32_t size = ring->unit_bytes, packets = load32(block + 12), at = load32(block + 16);
    uint64_t now = now_of(ring); /* after the status was read: no packet of the block is younger */
    if (packets > size / V3_HEADER) {
        ring->malformed_blocks++;
        return;
    }
    for (uint32_t left = packets; left; left--) {
        if (at < V3_BLOCK_HEADER || at > size - V3_HEADER) {
            ring->malformed_blocks++;
            return;
        }
        const uint8_t *header = block + at;
        prefetch(header, 4);
        uint32_t next = load32(header), room = size - at;
        if (left > 1 && (next < V3_HEADER || next > room)) { /* the last frame's next is 0 */
            ring->malformed_blocks++;
            return;
        }
        struct frame frame = {
            .at = header, .size = left > 1 ? next : room, .header = V3_HEADER, .protocol_offset = V3_PROTOCOL,
            .seconds = load32(header + 4), .nanoseconds = load32(header + 8), .captured = load32(header + 12),
            .length = load32(header + 16), .status = load32(header + 20), .mac = load16(header + 24),
            .net = load16(header + 26),
        };
        account(ring, sequences, &frame, now);
        at += next;
    }
}

static uint64_t drain_blocks(struct ring *ring, struct sequences *sequences)
{
    uint64_t blocks = 0;
    while (blocks < ring->units) {
        uint8_t *block = ring->memory + (size_t)ring->cursor * ring->unit_bytes;
        if (!(status_of(block + 8) & STATUS_USER))
            break;
        walk_block(ring, sequences, block);
        hand_back(block + 8);
        ring->cursor = ring->cursor + 1 < ring->units ? ring->cursor + 1 : 0;
        blocks++;
    }
    return blocks;
}

static void walk_frame(struct ring *ring, struct sequences *sequences, uint8_t *at, uint64_t now)
{
    prefetch(at, 2);
    struct frame frame = {
        .at = at, .size = ring->unit_bytes, .header = V2_HEADER, .protocol_offset = V2_PROTOCOL,
        .status = load32(at), .length = load32(at + 4), .captured = load32(at + 8), .mac = load16(at + 12),
        .net = load16(at + 14), .seconds = load32(at + 16), .nanoseconds = load32(at + 20),
    };
    account(ring, sequences, &frame, now);
    hand_back(at);
}

/* In batches: the clock is read once for those frames that were ready before, so none can be younger than the reading. */
static uint64_t drain_frames(struct ring *ring, struct sequences *sequences)
{
    uint64_t frames = 0;
    while (frames < ring->units) {
        uint32_t ready = 0, limit = ring->units - (uint32_t)frames < BATCH ? ring->units - (uint32_t)frames : BATCH;
        for (uint32_t at = ring->cursor; ready < limit; ready++, at = at + 1 < ring->units ? at + 1 : 0)
            if (!(status_of(ring->memory + (size_t)at * ring->unit_bytes) & STATUS_USER))
                break;
        if (!ready)
            break;
        uint64_t now = now_of(ring);
        for (uint32_t left = ready; left; left--) {
            walk_frame(ring, sequences, ring->memory + (size_t)ring->cursor * ring->unit_bytes, now);
            ring->cursor = ring->cursor + 1 < ring->units ? ring->cursor + 1 : 0;
        }
        frames += ready;
    }
    return frames;
}

#include "capture.h"

/* ---- what Python calls --------------------------------------------------------------------------------------------- */

EXPORT uint32_t quietcore_walk_abi(void)
{
    return ABI;
}

/* Sizes of the structures above, for the loader to compare with its own. */
EXPORT uint32_t quietcore_walk_size(uint32_t which)
{
    const size_t sizes[] = {sizeof(struct ring), sizeof(struct sequences), sizeof(struct reader)};
    return which < 3 ? (uint32_t)sizes[which] : 0;
}

EXPORT uint32_t quietcore_walk_bucket(uint64_t value)
{
    return bucket_of(value);
}

/* Everything that is ready in one ring, at most one turn of it. Returns frames (V2) or blocks (V3). */
EXPORT uint64_t quietcore_walk_drain(struct ring *ring, struct sequences *sequences)
{
    if (sequences) {
        struct framing *framing = &sequences->framing;
        uint32_t sequence_end = framing->sequence_offset + framing->sequence_width;
        uint32_t count_end = framing->count_width ? framing->count_offset + framing->count_width : 0;
        framing->needed = sequence_end > count_end ? sequence_end : count_end;
        int common = framing->sequence_width == 8 && framing->count_width == 2 && framing->big_endian;
        framing->shape = common && framing->end_count != 1 ? SHAPE_64_16 : 0;
    }
    return ring->version == 2 ? drain_frames(ring, sequences) : drain_blocks(ring, sequences);
}

static void wait_ns(uint64_t pause)
{
    struct timespec time = {.tv_sec = (time_t)(pause / SECOND_NS), .tv_nsec = (long)(pause % SECOND_NS)};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

/* Waits for a packet, an error or the order to stop. Returns -1 to go on, else how the run ended. */
static int wait_packet(struct reader *reader, uint64_t nanoseconds)
{
    struct timespec time = {.tv_sec = (time_t)(nanoseconds / SECOND_NS), .tv_nsec = (long)(nanoseconds % SECOND_NS)};
    int ready = ppoll(reader->polled, reader->count + 1, &time, NULL);
    if (ready < 0)
        return errno == EINTR ? -1 : -1 - errno;
    if (ready == 0)
        return -1;
    if (reader->polled[reader->count].revents)
        return ENDED_STOPPED;
    for (uint32_t i = 0; i < reader->count; i++)
        if (reader->polled[i].revents & (POLLERR | POLLHUP | POLLNVAL)) {
            reader->failed = i;
            return ENDED_FAILED;
        }
    return -1;
}

/* Drains all rings until the time has come. A drain that found packets is followed by a pause, for waking up at each packet
 * costs a core and delays the sender; only an idle reader sleeps in poll. Returns how it ended, or -1 - errno. */
EXPORT int quietcore_walk_run(struct reader *reader)
{
    prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul); /* of this thread; 50 us by default, half of the pause */
    while (!__atomic_load_n(&reader->stop, __ATOMIC_ACQUIRE)) {
        uint64_t found = 0;
        for (uint32_t i = 0; i < reader->count; i++)
            found += quietcore_walk_drain(&reader->rings[i], reader->sequences);
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        if (now >= reader->until_ns)
            return ENDED_DEADLINE;
        uint64_t left = reader->until_ns - now;
        if (found && reader->pause_ns) {
            wait_ns(left < reader->pause_ns ? left : reader->pause_ns);
            continue;
        }
        int ended = wait_packet(reader, left);
        if (ended != -1)
            return ended;
    }
    return ENDED_STOPPED;
}
