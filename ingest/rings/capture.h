/* Walks capture files, classic pcap and pcapng, piece by piece out of a buffer: no system call, no allocation.
 *
 * The formats are those of draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng, the link types those of tcpdump.org's list
 * and draft-ietf-opsawg-pcaplinktype. Every length is hostile until it was checked against the piece, and what it skips
 * against the file's end. A record that lies across the piece's end is left for the next piece, which begins with it.
 *
 * Part of walk.c, whose counters and whose datagram() it uses. ingest/rings/capture_python.py does the same in Python.
 */

enum {
    CAPTURE_INTERFACES = 4096, /* of one section */
    CAPTURE_UNDECODED = 16,    /* link types that are counted apart; the last slot takes all others */
    CAPTURE_PACKET = 262144,   /* bytes: what libpcap takes for the longest packet that a capture can hold */

    CAPTURE_PCAP = 1,
    CAPTURE_PCAPNG = 2,

    NOT_DECODED = -1,
};

enum ended {
    CAPTURE_GOES_ON = 0,
    CAPTURE_WHOLE,
    CAPTURE_CUT,      /* within a record */
    CAPTURE_BROKEN,   /* a record's lengths do not hold together, so nobody knows where the next begins */
    CAPTURE_UNKNOWN,  /* from here on: of the first bytes */
    CAPTURE_MODIFIED, /* Kuznetzov's */
    CAPTURE_VERSION,
    CAPTURE_CROWDED, /* more interfaces than we hold */
};

struct interface {
    uint64_t units; /* of its clock in a second; 0: it says nothing that we can use */
    uint64_t multiply, divide; /* ns = (unit within the second >> shift) * multiply / divide */
    uint64_t plain;            /* stamps up to here times multiply are nanoseconds */
    int64_t offset_s;
    uint64_t drops;
    uint32_t link_type, snap_bytes, shift;
    int32_t link_bytes; /* before the network header; NOT_DECODED */
};

struct undecoded {
    uint64_t packets, bytes;
    uint32_t link_type, used;
};

struct capture {
    const uint8_t *piece;
    uint64_t size;     /* bytes of the piece */
    uint64_t left;     /* bytes from the piece's start to the file's end */
    uint64_t capacity; /* bytes of the largest piece there will be */
    uint64_t stamped, first_ns, last_ns; /* the earliest and the latest of the packets that have a stamp */
    uint64_t drops, sections;
    uint32_t format, swapped, nanoseconds, trailer; /* trailer: the length that a skipped block has to end with */
    uint32_t ended, interfaces, major, minor;
    struct undecoded undecoded[CAPTURE_UNDECODED];
    struct interface interface[CAPTURE_INTERFACES];
};

INLINE uint32_t file16(const struct capture *capture, const uint8_t *at)
{
    return capture->swapped ? __builtin_bswap16(load16(at)) : load16(at);
}

INLINE uint32_t file32(const struct capture *capture, const uint8_t *at)
{
    return capture->swapped ? __builtin_bswap32(load32(at)) : load32(at);
}

static uint64_t file64(const struct capture *capture, const uint8_t *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return capture->swapped ? __builtin_bswap64(value) : value;
}

/* ---- packets --------------------------------------------------------------------------------------------------------- */

static int32_t link_bytes_of(uint32_t link_type)
{
    switch (link_type) {
    case 1: /* Ethernet */
        return 14;
    case 12: /* raw IP: 12 and 14 are what BSD and OpenBSD call it */
    case 14:
    case 101:
    case 228:
    case 229:
        return 0;
    case 113: /* Linux cooked */
        return 16;
    case 276: /* Linux cooked v2 */
        return 20;
    case 0: /* BSD loopback, in the byte order of the host that captured */
    case 108: /* OpenBSD's, in network byte order */
        return 4;
    default:
        return NOT_DECODED;
    }
}

/* BSD's address families; that of IPv6 differs between its descendants, and Linux has its own. */
static uint32_t family_protocol(uint32_t family)
{
    if (family > 0xffff)
        family = __builtin_bswap32(family);
    if (family == 2)
        return 0x0800;
    return family == 10 || family == 24 || family == 28 || family == 30 ? 0x86dd : 0;
}

/* The ethertype of a packet that is longer than its link header. */
static uint32_t protocol_of(uint32_t link_type, const uint8_t *at)
{
    switch (link_type) {
    case 1:
        return big16(at + 12);
    case 113:
        return big16(at + 14);
    case 276:
        return big16(at);
    case 0:
    case 108:
        return family_protocol(load32(at));
    case 228:
        return 0x0800;
    case 229:
        return 0x86dd;
    default:
        return at[0] >> 4 == 4 ? 0x0800 : at[0] >> 4 == 6 ? 0x86dd : 0;
    }
}

static void undecoded(struct capture *capture, uint32_t link_type, uint32_t length)
{
    struct undecoded *slot = capture->undecoded, *last = slot + CAPTURE_UNDECODED - 1;
    while (slot < last && slot->used && slot->link_type != link_type)
        slot++;
    slot->used = 1;
    slot->link_type = link_type;
    slot->packets++;
    slot->bytes += length;
}

/* Counts one packet and follows its number. Returns 0 for one that cannot be. */
INLINE int captured_packet(struct capture *capture, struct ring *ring, struct sequences *sequences,
                           const struct interface *interface, const uint8_t *at, uint32_t captured, uint32_t length,
                           uint64_t stamp)
{
    if (captured > length || captured > CAPTURE_PACKET)
        return 0;
    ring->packets++;
    ring->bytes += length;
    ring->truncated += captured < length;
    if (interface->link_bytes < 0)
        undecoded(capture, interface->link_type, length);
    else if (sequences && captured > (uint32_t)interface->link_bytes)
        datagram(sequences, at + interface->link_bytes, captured - (uint32_t)interface->link_bytes,
                 protocol_of(interface->link_type, at), stamp, stamp, UNTIMED);
    return 1;
}

static inline void stamped(struct capture *capture, uint64_t stamp)
{
    if (!capture->stamped++ || stamp < capture->first_ns)
        capture->first_ns = stamp;
    if (stamp > capture->last_ns)
        capture->last_ns = stamp;
}

/* ---- classic pcap ---------------------------------------------------------------------------------------------------- */

static void pcap_header(struct capture *capture)
{
    const uint8_t *at = capture->piece;
    capture->major = file16(capture, at + 4);
    capture->minor = file16(capture, at + 6);
    if (capture->major != 2 || capture->minor != 4) {
        capture->ended = CAPTURE_VERSION;
        return;
    }
    struct interface *interface = capture->interface;
    interface->link_type = file32(capture, at + 20) & 0xffff; /* above: whether frames end with a checksum */
    interface->link_bytes = link_bytes_of(interface->link_type);
    capture->interfaces = 1;
    capture->format = CAPTURE_PCAP;
}

static uint64_t pcap_records(struct capture *capture, struct ring *ring, struct sequences *sequences, uint64_t from)
{
    const struct interface *interface = capture->interface;
    uint32_t second = capture->nanoseconds ? SECOND_NS : 1000000, unit_ns = capture->nanoseconds ? 1 : 1000;
    uint64_t at = from;
    while (capture->left - at) {
        const uint8_t *record = capture->piece + at;
        if (capture->left - at < 16)
            break;
        if (capture->size - at < 16)
            return at;
        __builtin_prefetch((const void *)((uintptr_t)record + AHEAD));
        uint32_t seconds = file32(capture, record), units = file32(capture, record + 4);
        uint32_t captured = file32(capture, record + 8), length = file32(capture, record + 12);
        if (captured > CAPTURE_PACKET) {
            ring->malformed_blocks++;
            capture->ended = CAPTURE_BROKEN;
            return at;
        }
        if (capture->left - at < 16 + captured)
            break;
        if (capture->size - at < 16 + captured)
            return at;
        uint64_t stamp = (uint64_t)seconds * SECOND_NS + (uint64_t)units * unit_ns;
        if (units < second && captured_packet(capture, ring, sequences, interface, record + 16, captured, length, stamp))
            stamped(capture, stamp);
        else
            ring->malformed_frames++;
        at += 16 + captured;
    }
    capture->ended = capture->left == at ? CAPTURE_WHOLE : CAPTURE_CUT;
    return at;
}

#include "pcapng.h"

/* ---- both --------------------------------------------------------------------------------------------------------- */

/* What the first four bytes say. Returns the bytes of the header that has to follow, or 0 where they say nothing. */
static uint64_t recognise(struct capture *capture)
{
    uint32_t magic = load32(capture->piece);
    capture->swapped = magic == 0xd4c3b2a1 || magic == 0x4d3cb2a1;
    capture->nanoseconds = magic == 0xa1b23c4d || magic == 0x4d3cb2a1;
    if (magic == BLOCK_SECTION)
        return 12;
    if (magic == 0xa1b2c3d4 || capture->swapped || capture->nanoseconds)
        return 24;
    capture->ended = magic == 0xa1b2cd34 || magic == 0x34cdb2a1 ? CAPTURE_MODIFIED : CAPTURE_UNKNOWN;
    return 0;
}

EXPORT uint32_t quietcore_walk_capture_size(void)
{
    return sizeof(struct capture);
}

/* Walks what is whole in the piece. Returns by how many bytes the next one begins behind this one's start: less than its
 * size where a record lies across its end (0: it needs more of them), more where a block is skipped. Unless ended is set. */
EXPORT uint64_t quietcore_walk_capture(struct capture *capture, struct ring *ring, struct sequences *sequences)
{
    uint64_t header = 0;
    if (!capture->format) {
        header = capture->size < 4 ? 4 : recognise(capture);
        if (header && capture->left < header)
            capture->ended = CAPTURE_CUT;
        if (capture->ended || capture->size < header)
            return 0;
        if (header == 24)
            pcap_header(capture);
        else
            capture->format = CAPTURE_PCAPNG;
        if (capture->ended)
            return 0;
    }
    return capture->format == CAPTURE_PCAP ? pcap_records(capture, ring, sequences, header)
                                           : pcapng_blocks(capture, ring, sequences);
}
