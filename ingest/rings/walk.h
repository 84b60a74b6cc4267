/* What the walker and its callers share: ingest/rings/walk_native.py holds the same structures for ctypes, and compares sizes.
 * Whoever changes one of them, or the meaning of a field, raises ABI there and here. */
#ifndef QUIETCORE_WALK_H
#define QUIETCORE_WALK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
    ABI = 4,
    SUB_BUCKETS = 16, /* per power of two: a bucket is at most 6.25 % wide */
    BUCKETS = 592,    /* up to 2^40 ns, 18 minutes */
    STREAMS = 1024,
    SLOTS = 4096, /* of the table that finds a stream: a power of two, at most a quarter full */
    ROUTES = 256, /* a power of two; two groups of the same place take turns in it */
    WINDOW = 8192, /* sequence numbers behind the newest for which late and repeated are told apart */
    OUTSIDE_RUN = 16,
    NO_LINE = 2,
    GAPS = 8, /* of a stream that are remembered; the longest of the last second, where there are more */
    STREAM_PADDING = 1,
    UNTIMED = BUCKETS + 1, /* of a capture file: there is no reading to measure */
};

/* Where gcc leaves these out of line, their arguments travel through memory: half of the time per packet. */
#define INLINE static inline __attribute__((always_inline))
#define EXPORT __attribute__((visibility("default")))
#define OUT_OF_LINE static __attribute__((noinline, cold))
#define RARE(condition) __builtin_expect(!!(condition), 0)

#define SECOND_NS 1000000000u
#define FAR_AHEAD (UINT64_C(1) << 28)
#define LAST_SEQUENCE ((UINT64_C(1) << 63) - 1)
#define NOTHING_NEXT (~UINT64_C(0))

struct histogram {
    uint64_t negative, max_ns, buckets[BUCKETS];
};

struct ring {
    uint8_t *memory;
    uint64_t fixed_now_ns; /* for tests; 0: the clock */
    uint32_t version;      /* 2 or 3 */
    uint32_t unit_bytes;   /* of a frame (V2) or a block (V3) */
    uint32_t units;
    uint32_t cursor;
    struct tape *tape;    /* NULL: packets are not kept */
    uint32_t stamp_kind;  /* the bits of tp_status that a stamp has to have; 0: any stamp will do */
    uint32_t super_bytes; /* no longer packet came over the wire; 0: unknown */
    /* counters from here on; Python sets them to 0 once it took them */
    uint64_t packets, bytes, truncated, malformed_frames, malformed_blocks, losing, unstamped;
    uint64_t ipv6, not_ip, vlan, fragments, other_host, jumbo, super_frames;
    struct histogram latency;
};

/* Where a UDP payload holds its sequence number; offsets and widths in bytes. Those that are absent are 0 throughout. */
struct framing {
    uint32_t port; /* destination; 0: every port */
    uint32_t sequence_offset, sequence_width;
    uint32_t count_offset, count_width; /* width 0: a packet is one number */
    uint32_t big_endian;
    uint32_t end_count;                 /* a count that means none, as 0 does */
    uint32_t scope_offset, scope_width; /* tells streams of one group apart */
    uint32_t epoch_offset, epoch_width; /* whose change begins the numbers anew */
    uint32_t high_offset, high_mask;    /* bits of one byte that are bits 32.. of the number */
    uint32_t chain_offset, chain_width; /* length of each of the concatenated headers: their number is the count */
    uint32_t time_offset, time_kind;    /* 1: u64 ns, 2: u32 s and u32 ns, 3: u64 ms */
    uint32_t zero_unsequenced;
    uint32_t flag_offset;
    uint32_t epoch_mask;     /* of its first byte, for an epoch of one byte; else 0 */
    uint32_t needed;         /* from here on the walker's own: bytes of payload up to the end of all fields */
    uint32_t wide;           /* bytes of payload with which scope and epoch can be read eight at a time */
    uint32_t common;         /* 8 bytes big-endian, a count of 2, no scope, flags or send time: MoldUDP64 and its kin */
    uint32_t epoch_words;    /* how many times eight bytes the epoch has */
    uint64_t scope_bits, epoch_bits[2];
    uint8_t flags[256]; /* of the byte at flag_offset: 0 accounted, 1 ignored, 2 begins anew */
};

/* Numbers that are missing: every one of them was counted as lost. stamp: of the datagram behind them. */
struct gap {
    uint64_t from, to, stamp;
};

struct stream {
    uint64_t next;         /* expected, where a datagram with that number needs nothing but counting; else NOTHING_NEXT */
    uint64_t newest_stamp; /* of the datagram with the highest number */
    uint64_t session[2];   /* the bytes of its epoch */
    uint64_t expected;     /* behind next by what came in order since; see settle */
    uint64_t behind;       /* expected - behind = received */
    uint64_t marked;       /* numbers from here up to expected were all received, and are not in seen yet */
    uint64_t epoch;
    uint64_t address[2]; /* as on the wire; IPv4: the first four bytes */
    uint64_t place;      /* port, and family 4 or 6 from bit 16 on; a merged channel: MERGED and its number */
    uint64_t scope;
    uint64_t first, lost, duplicate, reordered, outside, resets, heartbeats;
    uint64_t former_epoch, begun_stamp;
    uint32_t outside_run, framing;
    uint32_t started, line;   /* line: 0 A, 1 B, NO_LINE */
    uint32_t channel, merged; /* both + 1; 0: none. Of a merged channel: channel is the place of its arrivals + 1 */
    int64_t nearest_ns;       /* the smallest difference of reading and send time; INT64_MAX: none yet */
    struct histogram latency, sent;
    uint64_t seen[WINDOW / 64];
    struct gap gaps[GAPS];
    uint32_t gap_count, reserved;
    uint32_t ticket, turn; /* of those readers that want the stream: it is free where both are the same. See shared.h */
    uint64_t apart[STREAM_PADDING]; /* no cache line belongs to two streams, which two readers may hold */
};
_Static_assert(sizeof(struct stream) % 64 == 0, "STREAM_PADDING");

/* Where the common datagram finds its stream at once: by destination and port as they lie in its headers. */
struct route {
    uint64_t group;
    struct stream *stream;
};

/* A group that a feed is sent to, with the framing of its own. */
struct line {
    uint64_t address[2], place;
    uint32_t framing, channel, line, reserved; /* channel + 1; 0: none */
};

/* First arrivals of a channel that comes over two lines. */
struct arrivals {
    uint64_t wins[2], both;
    struct histogram skew[2]; /* by how much line A, line B came first */
    uint64_t tag[WINDOW], stamp[WINDOW]; /* tag: number and epoch in one; 0: none */
    uint8_t line[WINDOW];
};

/* The streams: one table, whether one reader fills it or several. */
struct table {
    struct stream *streams;    /* STREAMS of them, in the order in which they were first seen */
    struct arrivals *arrivals; /* merged_limit of them: whoever holds the channel's merged stream has its arrivals */
    uint32_t merged_limit, used, merged_used;
    uint32_t adding;  /* somebody makes a stream */
    uint32_t waiting; /* readers that wait for a stream which another one holds */
    uint32_t reserved;
    uint16_t stream_slots[SLOTS]; /* place + 1; 0: free */
};

/* One reader's side of the accounting. */
struct sequences {
    struct framing *framings;
    const struct framing *usual; /* that of the common way; NULL: none. Made by prepare */
    struct table *table;
    struct line *lines; /* sorted by nothing: a few dozen, found by slots as streams are */
    uint32_t framing_count, line_count;
    uint32_t others; /* framing + 1 of the datagrams that are on no line; 0: they are not accounted */
    uint32_t many;   /* other readers fill the same table: nothing of a stream is touched that this one does not hold */
    uint64_t unread, unfollowed, ignored;
    struct route routes[ROUTES];  /* where there are many readers, only of streams that are held */
    uint16_t line_slots[SLOTS];   /* place + 1; 0: free */
    uint16_t held[STREAMS];       /* places of the streams that this reader holds */
    uint64_t holds[STREAMS / 64]; /* the same as bits */
    uint32_t held_count, reserved;
};

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers in packets are swapped as on little-endian processors");

INLINE uint16_t load16(const uint8_t *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

INLINE uint32_t load32(const uint8_t *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

INLINE uint64_t load64(const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return value;
}

INLINE uint32_t big16(const uint8_t *at)
{
    return __builtin_bswap16(load16(at));
}

/* The upper bits of a double are its power of two and the four bits behind the first: the bucket, but for small values. What
 * a double cannot hold exactly lies far above the last bucket. */
INLINE uint32_t bucket_of(uint64_t value)
{
    if (RARE(value < SUB_BUCKETS))
        return (uint32_t)value;
    double real = (double)(int64_t)value;
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    uint64_t index = (bits >> 48) - (1023 + 3) * SUB_BUCKETS;
    return RARE(index >= BUCKETS || (int64_t)value < 0) ? BUCKETS - 1 : (uint32_t)index;
}

INLINE void measure(struct histogram *histogram, uint64_t value, uint32_t bucket)
{
    histogram->buckets[bucket]++;
    if (RARE(value > histogram->max_ns))
        histogram->max_ns = value;
}

#endif
