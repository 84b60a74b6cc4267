/* The frames of a ring, checked against the end of their frame or block: every field is hostile until then.
 *
 * The layouts are those of linux/if_packet.h, TPACKET_V2 (fixed frames) and TPACKET_V3 (blocks of packed frames), as offsets. */
#ifndef QUIETCORE_FRAMES_H
#define QUIETCORE_FRAMES_H

#include "datagram.h"
#include <time.h>

enum {
    BATCH = 64,

    STATUS_USER = 1,
    STATUS_LOSING = 4,
    STATUS_VLAN = 0x10,
    STATUS_GSO_TCP = 0x100,
    ODD = STATUS_LOSING | STATUS_VLAN | STATUS_GSO_TCP,

    PACKET_OTHERHOST = 3,

    V2_HEADER = 52, /* tpacket2_hdr aligned to 16, then sockaddr_ll: no packet starts before */
    V2_LINK = 32,
    V3_HEADER = 68,
    V3_LINK = 48,
    V3_BLOCK_HEADER = 48,
    LINK_PROTOCOL = 2, /* of sockaddr_ll, big-endian */
    LINK_PACKET_TYPE = 10,

    STANDARD_BYTES = 1518, /* Ethernet header, tag and an MTU of 1500 */
    AHEAD = 4096, /* bytes; 4 x where the processor does not follow by itself, measured best between 256 and 8192 */
    LINE_BYTES = 64,
};

/* The kernel publishes with a write barrier and a plain store (net/packet/af_packet.c); we need the matching half. */
INLINE uint32_t status_of(const uint8_t *at)
{
    return __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_ACQUIRE);
}

INLINE void hand_back(uint8_t *at)
{
    __atomic_store_n((uint32_t *)(void *)at, 0, __ATOMIC_RELEASE);
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * SECOND_NS + (uint64_t)time.tv_nsec;
}

INLINE uint64_t now_of(const struct ring *ring)
{
    return ring->fixed_now_ns ? ring->fixed_now_ns : clock_ns(CLOCK_REALTIME);
}

/* Every packet that is not whole, plain IPv4 to this host: counted by the names of what it is. */
OUT_OF_LINE void name(struct ring *ring, const uint8_t *link, uint32_t status, uint32_t length, const uint8_t *packet, uint32_t size)
{
    uint32_t protocol = big16(link + LINK_PROTOCOL);
    ring->losing += (status & STATUS_LOSING) != 0;
    ring->other_host += link[LINK_PACKET_TYPE] == PACKET_OTHERHOST;
    int super = (status & STATUS_GSO_TCP) || (ring->super_bytes && length > ring->super_bytes);
    ring->super_frames += super;
    ring->jumbo += !super && length > STANDARD_BYTES;
    ring->vlan += (status & STATUS_VLAN) || protocol == ETHERTYPE_VLAN || protocol == ETHERTYPE_QINQ;
    for (int tags = 0; tags < 2 && (protocol == ETHERTYPE_VLAN || protocol == ETHERTYPE_QINQ) && size >= 4; tags++) {
        protocol = big16(packet + 2);
        packet += 4;
        size -= 4;
    }
    ring->ipv6 += protocol == ETHERTYPE_IPV6;
    ring->not_ip += protocol != ETHERTYPE_IPV6 && protocol != ETHERTYPE_IPV4;
    ring->fragments += protocol == ETHERTYPE_IPV4 && size >= 20 && (big16(packet + 6) & 0x3fff);
}

/* What the common frame looks like: as the last one that was neither odd nor malformed. */
struct common {
    uint64_t shape;    /* status, and where link and network headers begin */
    uint32_t net, min, span; /* min: bytes on the wire of the shortest datagram with a number; span: to the longest */
    uint64_t bytes, packets;
};

/* Of the packets that have no name for their length. */
INLINE uint32_t longest(const struct ring *ring)
{
    return ring->super_bytes && ring->super_bytes < STANDARD_BYTES ? ring->super_bytes : STANDARD_BYTES;
}

struct fields {
    uint32_t status, length, captured, mac, net, seconds, nanoseconds, header_bytes;
};

#include "tape.h"

/* Every frame, whatever it holds. link: its sockaddr_ll; room: no byte of the frame lies beyond. */
static int account(struct ring *ring, struct sequences *sequences, const uint8_t *header, const uint8_t *link, uint32_t room,
    const struct fields *in, uint64_t now)
{
    if (in->mac < in->header_bytes || in->net < in->mac || in->captured > in->length || in->mac + (uint64_t)in->captured > room ||
        in->nanoseconds >= SECOND_NS) {
        ring->malformed_frames++;
        return 0;
    }
    struct moment moment = {.stamp = (uint64_t)in->seconds * SECOND_NS + in->nanoseconds, .now = now, .bucket = BUCKETS};
    moment.latency = now - moment.stamp;
    ring->packets++;
    ring->bytes += in->length;
    ring->truncated += in->captured < in->length;
    if ((int64_t)moment.latency < 0) { /* the wall clock was set back between the two readings */
        ring->latency.negative++;
    } else if ((in->status & ring->stamp_kind) != ring->stamp_kind) {
        ring->unstamped++; /* not by the clock that was asked for */
    } else {
        moment.bucket = bucket_of(moment.latency);
        measure(&ring->latency, moment.latency, moment.bucket);
    }
    const uint8_t *packet = header + in->net;
    uint32_t end = in->mac + in->captured, size = in->net < end ? end - in->net : 0, protocol = big16(link + LINK_PROTOCOL);
    int odd = protocol != ETHERTYPE_IPV4 || size < 20 || packet[0] != 0x45 || (load16(packet + 6) & 0xff3f) ||
              in->length > longest(ring) || (in->status & ODD) || link[LINK_PACKET_TYPE] == PACKET_OTHERHOST;
    if (odd)
        name(ring, link, in->status, in->length, packet, size);
    if (ring->tape)
        tape_packet(ring, header, in, moment.stamp);
    if (sequences && size)
        datagram(sequences, packet, size, protocol, moment.stamp, now, moment.bucket);
    return !odd && moment.bucket != BUCKETS && !ring->tape;
}

INLINE void prefetch(const uint8_t *at, uint32_t lines)
{
    for (uint32_t line = 0; line < lines; line++)
        __builtin_prefetch((const void *)((uintptr_t)at + AHEAD + line * LINE_BYTES));
}

OUT_OF_LINE void any_frame(struct ring *ring, struct sequences *sequences, const uint8_t *header, uint32_t room, uint64_t now,
    struct common *common)
{
    struct fields in = {load32(header + 20), load32(header + 16), load32(header + 12), load16(header + 24), load16(header + 26),
        load32(header + 4), load32(header + 8), V3_HEADER};
    if (account(ring, sequences, header, header + V3_LINK, room, &in, now) && sequences && sequences->usual) {
        common->shape = load64(header + 20);
        common->net = in.net;
        common->min = in.net - in.mac + 28 + sequences->usual->wide;
        common->span = longest(ring) - common->min;
    }
}

/* The frame that nearly every frame is: shaped as the last, whole, plain IPv4, UDP, and the next of its stream. Returns 0, with
 * nothing done, for every other: what a frame needs besides stands in account and datagram, and nothing here but for speed. */
INLINE int common_frame(struct ring *ring, struct sequences *sequences, const uint8_t *header, uint32_t room, uint64_t now,
    struct common *common)
{
    uint32_t length = load32(header + 16), nanoseconds = load32(header + 8);
    const uint8_t *packet = header + common->net, *payload = packet + 28;
    if (load64(header + 20) != common->shape || load32(header + 12) != length || length - common->min > common->span ||
        length + ((common->shape >> 32) & 0xffff) > room || nanoseconds >= SECOND_NS)
        return 0;
    if (load16(header + V3_LINK + LINK_PROTOCOL) != 0x0008 || header[V3_LINK + LINK_PACKET_TYPE] == PACKET_OTHERHOST ||
        packet[0] != 0x45 || (load64(packet + 2) & UINT64_C(0xff00ff3f00000000)) != (uint64_t)UDP << 56)
        return 0;
    uint64_t group = load64(packet + 16) & UINT64_C(0xffff0000ffffffff);
    const struct route *route = &sequences->routes[place_of(group)];
    struct stream *stream = route->stream;
    const struct framing *framing = sequences->usual;
    if (route->group != group || big16(packet + 24) < framing->wide + 8 ||
        (load64(payload) & framing->epoch_bits[0]) != stream->session[0] ||
        (load64(payload + 8) & framing->epoch_bits[1]) != stream->session[1])
        return 0;
    uint64_t next = __builtin_bswap64(load64(payload + framing->sequence_offset)), count = big16(payload + framing->count_offset);
    uint64_t stamp = (uint64_t)load32(header + 4) * SECOND_NS + nanoseconds, latency = now - stamp;
    if (next != stream->next || !count || count == framing->end_count || (int64_t)(latency | next) < 0)
        return 0;
    uint32_t bucket = bucket_of(latency);
    stream->next = next + count;
    stream->newest_stamp = stamp;
    common->bytes += length;
    common->packets++;
    measure(&ring->latency, latency, bucket);
    measure(&stream->latency, latency, bucket);
    return 1;
}

static void walk_block(struct ring *ring, struct sequences *sequences, const uint8_t *block)
{
    uint32_t size = ring->unit_bytes, left = load32(block + 12), at = load32(block + 16);
    uint64_t now = now_of(ring); /* after the status was read: no packet of the block is younger */
    struct common common = {.shape = NOTHING_NEXT};
    if (left > size / V3_HEADER) {
        ring->malformed_blocks++;
        return;
    }
    for (; left; left--) {
        const uint8_t *header = block + at;
        uint32_t room = size - at, next;
        if (RARE(at < V3_BLOCK_HEADER || at > size - V3_HEADER)) {
            ring->malformed_blocks++;
            break;
        }
        prefetch(header, 4);
        next = load32(header);
        if (RARE(left == 1))
            next = room; /* the last frame's is 0 */
        if (RARE(next < V3_HEADER || next > room)) {
            ring->malformed_blocks++;
            break;
        }
        if (RARE(!common_frame(ring, sequences, header, next, now, &common)))
            any_frame(ring, sequences, header, next, now, &common);
        at += next;
    }
    ring->packets += common.packets;
    ring->bytes += common.bytes;
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
        let_others(sequences);
        ring->cursor = ring->cursor + 1 < ring->units ? ring->cursor + 1 : 0;
        blocks++;
    }
    return blocks;
}

static void walk_frame(struct ring *ring, struct sequences *sequences, const uint8_t *at, uint64_t now)
{
    prefetch(at, 2);
    struct fields in = {load32(at), load32(at + 4), load32(at + 8), load16(at + 12), load16(at + 14), load32(at + 16), load32(at + 20),
        V2_HEADER};
    account(ring, sequences, at, at + V2_LINK, ring->unit_bytes, &in, now);
}

static uint32_t after(const struct ring *ring, uint32_t at)
{
    return at + 1 < ring->units ? at + 1 : 0;
}

/* In batches: the clock is read once for those frames that were ready before, so none can be younger than the reading. */
static uint64_t drain_frames(struct ring *ring, struct sequences *sequences)
{
    uint64_t frames = 0;
    while (frames < ring->units) {
        uint32_t ready = 0, limit = ring->units - (uint32_t)frames < BATCH ? ring->units - (uint32_t)frames : BATCH;
        for (uint32_t at = ring->cursor; ready < limit; ready++, at = after(ring, at))
            if (!(status_of(ring->memory + (size_t)at * ring->unit_bytes) & STATUS_USER))
                break;
        if (!ready)
            break;
        uint64_t now = now_of(ring);
        for (uint32_t left = ready; left; left--, ring->cursor = after(ring, ring->cursor)) {
            uint8_t *frame = ring->memory + (size_t)ring->cursor * ring->unit_bytes;
            walk_frame(ring, sequences, frame, now);
            hand_back(frame);
        }
        let_others(sequences);
        frames += ready;
    }
    return frames;
}

#endif
