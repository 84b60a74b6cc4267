/* The blocks of pcapng: part of capture.h. */

enum {
    BLOCK_INTERFACE = 1,
    BLOCK_OLD_PACKET = 2,
    BLOCK_SIMPLE_PACKET = 3,
    BLOCK_STATISTICS = 5,
    BLOCK_PACKET = 6,
    BLOCK_SECTION = 0x0a0d0d0a,

    OPTION_CLOCK_UNIT = 9,    /* if_tsresol */
    OPTION_CLOCK_OFFSET = 14, /* if_tsoffset */
    OPTION_NIC_DROPS = 5,     /* isb_ifdrop */
    OPTION_KERNEL_DROPS = 7,  /* isb_osdrop */
};

#define STAMPS_END (UINT64_C(18446744073) * SECOND_NS) /* the last whole second that 64 bits of nanoseconds reach, in 2554 */
#define DROPS_END (UINT64_C(1) << 48)
#define OFFSET_END (INT64_C(1) << 40) /* seconds */

/* The next option between *at and end. Returns its code, 0 at their end, -1 for one that is not whole. */
static int next_option(const struct capture *capture, const uint8_t **at, const uint8_t *end, const uint8_t **value,
                       uint32_t *size)
{
    if (end - *at < 4)
        return end == *at ? 0 : -1;
    uint32_t code = file16(capture, *at);
    if (!code)
        return 0;
    *size = file16(capture, *at + 2);
    *value = *at + 4;
    if ((uint64_t)(end - *value) < *size)
        return -1;
    *at = *value + ((*size + 3) & ~3u); /* a block is a multiple of four, so this is not beyond its end */
    return (int)code;
}

/* if_tsresol: a power of ten, or of two where the highest bit is set. Returns 0 for one that 64 bits cannot count with. */
static int clock_unit(struct interface *interface, uint32_t unit)
{
    uint32_t power = unit & 127;
    interface->multiply = interface->divide = interface->units = 1;
    interface->shift = 0;
    if (unit & 128) {
        if (power > 63)
            return 0;
        interface->units <<= power;
        interface->shift = power > 34 ? power - 34 : 0; /* 34 bits times 10^9 fit into 64 */
        interface->multiply = SECOND_NS;
        interface->divide <<= power - interface->shift;
        return 1;
    }
    if (power > 19)
        return 0;
    for (uint32_t ten = 0; ten < power; ten++) {
        interface->units *= 10;
        interface->divide *= ten >= 9 ? 10 : 1;
    }
    for (uint32_t ten = power; ten < 9; ten++)
        interface->multiply *= 10;
    return 1;
}

static void interface_block(struct capture *capture, struct ring *ring, const uint8_t *block, uint32_t total)
{
    struct interface *interface = &capture->interface[capture->interfaces++];
    *interface = (struct interface){.link_type = file16(capture, block + 8), .snap_bytes = file32(capture, block + 12)};
    interface->link_bytes = link_bytes_of(interface->link_type);
    clock_unit(interface, 6);
    const uint8_t *at = block + 16, *end = block + total - 4, *value = NULL;
    uint32_t size = 0;
    int code, sound = 1;
    while ((code = next_option(capture, &at, end, &value, &size)) > 0) {
        if (code == OPTION_CLOCK_UNIT)
            sound &= size == 1 && clock_unit(interface, value[0]);
        if (code == OPTION_CLOCK_OFFSET) {
            sound &= size == 8;
            interface->offset_s = size == 8 ? (int64_t)file64(capture, value) : 0;
        }
    }
    if (code < 0 || !sound || interface->offset_s > OFFSET_END || interface->offset_s < -OFFSET_END) {
        ring->malformed_blocks++;
        interface->units = 0;
    }
    int plain = interface->units && interface->divide == 1 && !interface->offset_s;
    interface->plain = plain ? (STAMPS_END - 1) / interface->multiply : 0;
}

/* Nanoseconds since 1970. Returns 0 for a stamp that 64 bits of them do not reach. */
static int nanoseconds_of(const struct interface *interface, uint64_t units, uint64_t *stamp)
{
    if (units <= interface->plain) {
        *stamp = units * interface->multiply;
        return 1;
    }
    uint64_t seconds = units / interface->units, part = units % interface->units;
    int64_t moved = seconds < UINT64_C(1) << 62 ? (int64_t)seconds + interface->offset_s : -1;
    if (moved < 0 || moved >= (int64_t)(STAMPS_END / SECOND_NS))
        return 0;
    *stamp = (uint64_t)moved * SECOND_NS + (part >> interface->shift) * interface->multiply / interface->divide;
    return 1;
}

static void packet_block(struct capture *capture, struct ring *ring, struct sequences *sequences, const uint8_t *block,
                         uint32_t total, uint32_t number)
{
    uint32_t captured = file32(capture, block + 20), length = file32(capture, block + 24);
    uint64_t units = (uint64_t)file32(capture, block + 12) << 32 | file32(capture, block + 16), stamp;
    if (number >= capture->interfaces || captured > total - 32) {
        ring->malformed_frames++;
        return;
    }
    const struct interface *interface = &capture->interface[number];
    if (interface->units && nanoseconds_of(interface, units, &stamp) &&
        captured_packet(capture, ring, sequences, interface, block + 28, captured, length, stamp))
        stamped(capture, stamp);
    else
        ring->malformed_frames++;
}

/* A packet of the first interface, without a stamp: for the order of numbers it has the latest one's. */
static void simple_block(struct capture *capture, struct ring *ring, struct sequences *sequences, const uint8_t *block,
                         uint32_t total)
{
    const struct interface *interface = capture->interface;
    uint32_t length = file32(capture, block + 8), captured = length;
    if (interface->snap_bytes && interface->snap_bytes < length)
        captured = interface->snap_bytes;
    if (!capture->interfaces || captured > total - 16 ||
        !captured_packet(capture, ring, sequences, interface, block + 12, captured, length, capture->last_ns))
        ring->malformed_frames++;
}

/* What the capturing side lost until then: the last such block of an interface counts. */
static void statistics_block(struct capture *capture, struct ring *ring, const uint8_t *block, uint32_t total)
{
    uint32_t number = file32(capture, block + 8), size = 0;
    const uint8_t *at = block + 20, *end = block + total - 4, *value = NULL;
    uint64_t drops = 0;
    int code, sound = number < capture->interfaces;
    while ((code = next_option(capture, &at, end, &value, &size)) > 0) {
        if (code != OPTION_NIC_DROPS && code != OPTION_KERNEL_DROPS)
            continue;
        uint64_t count = size == 8 ? file64(capture, value) : DROPS_END;
        sound &= count < DROPS_END;
        drops += sound ? count : 0;
    }
    if (code < 0 || !sound) {
        ring->malformed_blocks++;
        return;
    }
    capture->drops += drops - capture->interface[number].drops;
    capture->interface[number].drops = drops;
}

/* The bytes that a block of this type has at least; 0 for a type that is skipped. */
static uint32_t smallest_block(uint32_t type)
{
    switch (type) {
    case BLOCK_SECTION:
        return 28;
    case BLOCK_INTERFACE:
        return 20;
    case BLOCK_OLD_PACKET:
    case BLOCK_PACKET:
        return 32;
    case BLOCK_SIMPLE_PACKET:
        return 16;
    case BLOCK_STATISTICS:
        return 24;
    default:
        return 0;
    }
}

/* A block that is whole in the piece. Returns how the walk ends because of it, or CAPTURE_GOES_ON. */
static uint32_t known_block(struct capture *capture, struct ring *ring, struct sequences *sequences, const uint8_t *block,
                            uint32_t type, uint32_t total)
{
    switch (type) {
    case BLOCK_SECTION:
        capture->major = file16(capture, block + 12);
        capture->minor = file16(capture, block + 14);
        if (capture->major != 1 || (capture->minor != 0 && capture->minor != 2)) /* 1.2 is 1.0 by another name */
            return CAPTURE_VERSION;
        capture->interfaces = 0;
        capture->sections++;
        break;
    case BLOCK_INTERFACE:
        if (capture->interfaces == CAPTURE_INTERFACES)
            return CAPTURE_CROWDED;
        interface_block(capture, ring, block, total);
        break;
    case BLOCK_OLD_PACKET: /* 16 bits of interface, then as many of a drop counter */
        packet_block(capture, ring, sequences, block, total, file16(capture, block + 8));
        break;
    case BLOCK_SIMPLE_PACKET:
        simple_block(capture, ring, sequences, block, total);
        break;
    case BLOCK_STATISTICS:
        statistics_block(capture, ring, block, total);
        break;
    default:
        packet_block(capture, ring, sequences, block, total, file32(capture, block + 8));
    }
    return CAPTURE_GOES_ON;
}

/* Each section has a byte order of its own. Returns 0 for neither. */
static int byte_order(struct capture *capture, const uint8_t *block)
{
    uint32_t magic = load32(block + 8);
    capture->swapped = magic == 0x4d3c2b1a;
    return capture->swapped || magic == 0x1a2b3c4d;
}

static uint64_t broken(struct capture *capture, struct ring *ring, uint64_t at)
{
    ring->malformed_blocks++;
    capture->ended = CAPTURE_BROKEN;
    return at;
}

static uint64_t pcapng_blocks(struct capture *capture, struct ring *ring, struct sequences *sequences)
{
    uint64_t at = 0;
    while (capture->left - at) {
        const uint8_t *block = capture->piece + at;
        uint32_t head = capture->trailer ? 4 : 12;
        if (capture->left - at < head)
            break;
        if (capture->size - at < head)
            return at;
        if (capture->trailer) {
            if (file32(capture, block) != capture->trailer)
                return broken(capture, ring, at);
            capture->trailer = 0;
            at += 4;
            continue;
        }
        __builtin_prefetch((const void *)((uintptr_t)block + AHEAD));
        uint32_t type = file32(capture, block);
        if (type == BLOCK_SECTION && !byte_order(capture, block))
            return broken(capture, ring, at);
        uint32_t total = file32(capture, block + 4), smallest = smallest_block(type);
        if (total < 12 || total < smallest || total % 4)
            return broken(capture, ring, at);
        if (capture->left - at < total)
            break;
        if (!smallest || total > capture->capacity) {
            if (type == BLOCK_SECTION || type == BLOCK_INTERFACE)
                return broken(capture, ring, at);
            ring->malformed_blocks += smallest != 0;
            capture->trailer = total;
            at += total - 4;
            if (at > capture->size)
                return at;
            continue;
        }
        if (capture->size - at < total)
            return at;
        if (file32(capture, block + total - 4) != total)
            return broken(capture, ring, at);
        if ((capture->ended = known_block(capture, ring, sequences, block, type, total)))
            return at;
        at += total;
    }
    capture->ended = capture->left == at ? CAPTURE_WHOLE : CAPTURE_CUT;
    return at;
}
