/* From the network header of a packet to the number that it carries. Every offset is checked against what was captured. */
#ifndef QUIETCORE_DATAGRAM_H
#define QUIETCORE_DATAGRAM_H

#include "sequence.h"

enum {
    ETHERTYPE_IPV4 = 0x0800,
    ETHERTYPE_IPV6 = 0x86dd,
    ETHERTYPE_VLAN = 0x8100,
    ETHERTYPE_QINQ = 0x88a8,
    UDP = 17,

    FLAG_IGNORED = 1,
    FLAG_BEGINS = 2,
};

/* When a packet came and was read. bucket: of its latency; BUCKETS where it has none. */
struct moment {
    uint64_t stamp, now, latency;
    uint32_t bucket;
};

struct udp {
    const uint8_t *payload;
    struct key key;
    uint32_t size; /* bytes of payload that were captured */
};

INLINE uint64_t number_at(const uint8_t *at, uint32_t width, uint32_t big_endian)
{
    switch (width) {
    case 8:
        return big_endian ? __builtin_bswap64(load64(at)) : load64(at);
    case 4:
        return big_endian ? __builtin_bswap32(load32(at)) : load32(at);
    case 2:
        return big_endian ? big16(at) : load16(at);
    default:
        return at[0];
    }
}

/* How many headers are concatenated, each of which says its length. */
static uint64_t chained(const struct framing *framing, const uint8_t *payload, uint32_t size)
{
    uint64_t count = 0, at = 0;
    while (at + framing->chain_offset + framing->chain_width <= size) {
        uint64_t length = number_at(payload + at + framing->chain_offset, framing->chain_width, framing->big_endian);
        if (!length)
            break;
        count++;
        at += length;
    }
    return count;
}

INLINE uint64_t count_at(const struct framing *framing, const uint8_t *payload)
{
    if (!framing->count_width)
        return 1;
    uint64_t count = number_at(payload + framing->count_offset, framing->count_width, framing->big_endian);
    return framing->end_count && count == framing->end_count ? 0 : count;
}

INLINE uint64_t mixed(uint64_t low, uint64_t high)
{
    return low ^ high * UINT64_C(0x9e3779b97f4a7c15);
}

/* Up to eight bytes as they lie there, the first the lowest. */
static uint64_t bytes_at(const uint8_t *at, uint32_t width)
{
    uint64_t value = 0;
    for (uint32_t byte = 0; byte < width; byte++)
        value |= (uint64_t)at[byte] << (8 * byte);
    return value;
}

static uint64_t epoch_at(const struct framing *framing, const uint8_t *payload)
{
    const uint8_t *at = payload + framing->epoch_offset;
    uint32_t width = framing->epoch_width;
    uint64_t low = bytes_at(at, width < 8 ? width : 8) & framing->epoch_bits[0];
    return mixed(low, width > 8 ? bytes_at(at + 8, width - 8) : 0);
}

/* The difference of reading and the sender's clock: its smallest value is what the two clocks are apart, and the way. */
static void timed(struct stream *stream, const struct framing *framing, const uint8_t *payload, uint64_t now)
{
    const uint8_t *at = payload + framing->time_offset;
    uint64_t sent;
    if (framing->time_kind == 2)
        sent = number_at(at, 4, framing->big_endian) * SECOND_NS + number_at(at + 4, 4, framing->big_endian);
    else
        sent = number_at(at, 8, framing->big_endian) * (framing->time_kind == 3 ? 1000000u : 1u);
    int64_t difference = (int64_t)(now - sent);
    if (!sent)
        return;
    if (difference < stream->nearest_ns)
        stream->nearest_ns = difference;
    if (difference < 0)
        stream->sent.negative++;
    else
        measure(&stream->sent, (uint64_t)difference, bucket_of((uint64_t)difference));
}

INLINE void came(struct stream *stream, uint64_t latency, uint32_t bucket)
{
    if (RARE(bucket >= BUCKETS))
        stream->latency.negative += bucket == BUCKETS;
    else
        measure(&stream->latency, latency, bucket);
}

static const struct framing *framing_of(struct sequences *sequences, const struct key *key, const struct line **line)
{
    *line = sequences->line_count ? line_of(sequences, key) : NULL;
    if (*line)
        return &sequences->framings[(*line)->framing];
    if (!sequences->others)
        return NULL;
    const struct framing *framing = &sequences->framings[sequences->others - 1];
    return framing->port && framing->port != (key->place & 0xffff) ? NULL : framing;
}

static int read_numbers(const struct framing *framing, struct sequences *sequences, const struct udp *udp, struct numbers *numbers)
{
    const uint8_t *payload = udp->payload;
    uint32_t flag = udp->size > framing->flag_offset ? framing->flags[payload[framing->flag_offset]] : 0;
    if (flag & FLAG_IGNORED) {
        sequences->ignored++;
        return 0;
    }
    if (udp->size < framing->needed) {
        sequences->unread++;
        return 0;
    }
    numbers->sequence = number_at(payload + framing->sequence_offset, framing->sequence_width, framing->big_endian);
    if (framing->zero_unsequenced && !numbers->sequence) {
        sequences->ignored++;
        return 0;
    }
    if (numbers->sequence > LAST_SEQUENCE) {
        sequences->unread++;
        return 0;
    }
    numbers->begins = (flag & FLAG_BEGINS) != 0;
    numbers->epoch = epoch_at(framing, payload);
    numbers->count = framing->chain_width ? chained(framing, payload, udp->size) : count_at(framing, payload);
    return 1;
}

static struct stream *known(struct sequences *sequences, const struct udp *udp, const struct framing *framing, const struct line *line)
{
    uint32_t slot;
    struct stream *stream = find(sequences, &udp->key, &slot);
    if (stream)
        return stream;
    struct origin origin = {.framing = (uint32_t)(framing - sequences->framings), .line = NO_LINE};
    if (line && line->channel)
        origin.channel = line->channel, origin.line = line->line;
    return made(sequences, &udp->key, &origin);
}

/* Where its next datagrams find it at once. */
static void route(struct sequences *sequences, struct stream *stream, const struct framing *framing, const uint8_t *payload)
{
    uint64_t group = group_of(stream);
    if (!framing->common || stream->channel || stream->place >> 16 != 4)
        return;
    stream->session[0] = load64(payload) & framing->epoch_bits[0];
    stream->session[1] = load64(payload + 8) & framing->epoch_bits[1];
    sequences->routes[place_of(group)] = (struct route){group, stream};
}

static void numbered(struct sequences *sequences, struct udp *udp, const struct moment *moment)
{
    const struct line *line;
    const struct framing *framing = framing_of(sequences, &udp->key, &line);
    struct numbers numbers = {.stamp = moment->stamp};
    if (!framing || !read_numbers(framing, sequences, udp, &numbers))
        return;
    udp->key.scope = bytes_at(udp->payload + framing->scope_offset, framing->scope_width);
    struct stream *stream = known(sequences, udp, framing, line);
    if (!stream) {
        sequences->unfollowed++;
        return;
    }
    hold(sequences, stream);
    catch_up(stream);
    if (framing->high_mask) {
        uint32_t high = udp->payload[framing->high_offset] & framing->high_mask;
        numbers.sequence |= (uint64_t)(high / (framing->high_mask & -framing->high_mask)) << 32;
    } else if (framing->sequence_width == 4) {
        numbers.sequence = nearest_to(stream, (uint32_t)numbers.sequence);
    }
    if (follow(stream, &numbers))
        route(sequences, stream, framing, udp->payload);
    came(stream, moment->latency, moment->bucket);
    if (framing->time_kind)
        timed(stream, framing, udp->payload, moment->now);
    if (stream->channel)
        merge(sequences, stream, &numbers);
}

/* at: the network header; size: captured bytes from there; protocol: its ethertype as the kernel found it. */
static void datagram(
    struct sequences *sequences, const uint8_t *at, uint32_t size, uint32_t protocol, uint64_t stamp, uint64_t now, uint32_t bucket)
{
    struct moment moment = {.stamp = stamp, .now = now, .latency = now - stamp, .bucket = bucket};
    for (int tags = 0; tags < 2 && (protocol == ETHERTYPE_VLAN || protocol == ETHERTYPE_QINQ) && size >= 4; tags++) {
        protocol = big16(at + 2);
        at += 4;
        size -= 4;
    }
    struct udp udp = {0};
    uint32_t header, family = 4;
    if (protocol == ETHERTYPE_IPV4) {
        if (size < 20 || at[0] >> 4 != 4 || at[9] != UDP)
            return;
        if (big16(at + 6) & 0x3fff) { /* a fragment: only the first has ports, and none has a whole payload */
            sequences->unread++;
            return;
        }
        header = (at[0] & 15u) * 4;
        if (header < 20)
            return;
        udp.key.address[0] = load32(at + 16); /* a copy of 4 bytes that is then read as 8 would wait for the store */
    } else if (protocol == ETHERTYPE_IPV6) {
        if (size < 40 || at[0] >> 4 != 6 || at[6] != UDP)
            return;
        header = 40, family = 6;
        memcpy(udp.key.address, at + 24, 16);
    } else {
        return;
    }
    if (size < header + 8) {
        sequences->unread++;
        return;
    }
    udp.key.place = big16(at + header + 2) | family << 16;
    /* Ethernet pads short frames: what the UDP length does not cover is no payload. */
    uint32_t captured = size - header - 8, length = big16(at + header + 4), sent = length < 8 ? 0 : length - 8;
    udp.size = captured < sent ? captured : sent;
    udp.payload = at + header + 8;
    numbered(sequences, &udp, &moment);
}

#endif
