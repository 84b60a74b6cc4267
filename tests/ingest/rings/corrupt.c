/* Feeds walk.c corrupt rings, each in memory of exactly its size, under the sanitizers. usage: corrupt SEED ROUNDS
 * Prints packets, malformed frames, malformed blocks and received numbers: a test checks that all of them were met. */
#include "walk.c"
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

static uint64_t state;

static uint32_t any(uint32_t below)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 16) % below;
}

static void put32(uint8_t *at, uint32_t value)
{
    memcpy(at, &value, 4);
}

static void put16(uint8_t *at, uint32_t value)
{
    uint16_t half = (uint16_t)value;
    memcpy(at, &half, 2);
}

/* A datagram of the feed below its network header, at most room bytes; returns how many were written. */
static uint32_t packet(uint8_t *at, uint32_t room)
{
    uint8_t bytes[64] = {0x45, [6] = 0x40, [9] = 17, [16] = 239, 1, 1, 1};
    uint32_t size = sizeof bytes < room ? sizeof bytes : room;
    static uint8_t next;
    bytes[19] = (uint8_t)any(any(2) ? 2 : 100), bytes[22] = 0x75, bytes[23] = 0x31, bytes[25] = 44;
    if (!any(10))
        memset(bytes + 16, 0, 8); /* to nobody, port 0 */
    /* mostly the next number, for which the walker has a short way */
    bytes[45] = any(4) ? next++ : (uint8_t)any(40), bytes[47] = any(4) ? 1 : (uint8_t)any(3);
    memcpy(at, bytes, size);
    return size;
}

static void make_frame(uint8_t *at, uint32_t size)
{
    uint32_t captured = 14 + packet(at + 80, size - 80);
    put32(at, 1), put32(at + 4, captured + any(2)), put32(at + 8, captured), put16(at + 12, 66), put16(at + 14, 80);
    put32(at + 16, 1000), put32(at + 20, any(1000000)), put16(at + 34, 0x0008);
}

/* A packet cut short whose last byte is the frame's last: one byte more would be read from beyond the memory. */
static void make_short(uint8_t *at, uint32_t size)
{
    uint32_t left = 1 + any(44), kind = any(4);
    packet(at + size - left, left);
    if (kind == 3)
        at[size - left] = 0x60, at[size - 1] = 17;
    if (kind == 3 && left > 6)
        at[size - left + 6] = 17;
    put32(at, 1), put32(at + 4, left), put32(at + 8, left), put16(at + 12, size - left), put16(at + 14, size - left);
    put16(at + 34, kind == 3 ? 0xdd86 : kind == 2 ? 0x0081 : 0x0008);
}

static void make_block(uint8_t *block, uint32_t size)
{
    uint32_t at = 48, packets = 0, last = 0;
    while (size - at >= 168 && packets < 30) {
        uint8_t *header = block + at;
        uint32_t captured = 14 + packet(header + 96, 64);
        put32(header, 168), put32(header + 4, 1000), put32(header + 8, any(1000000)), put32(header + 12, captured);
        put32(header + 16, captured), put32(header + 20, 1), put16(header + 24, 82), put16(header + 26, 96);
        put16(header + 50, 0x0008);
        last = at, at += 168, packets++;
    }
    if (packets)
        put32(block + last, 0);
    put32(block + 8, 1), put32(block + 12, packets), put32(block + 16, 48);
}

static uint32_t hostile(void)
{
    static const uint32_t values[] = {0, 1, 47, 48, 68, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff8};
    return any(2) ? values[any(sizeof values / sizeof *values)] : any(5000);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    state = strtoull(argv[1], NULL, 10) * 2 + 88172645463325252u;
    uint64_t totals[4] = {0}, taped = 0;
    int nowhere = open("/dev/null", O_WRONLY);
    struct stream *streams = calloc(STREAMS, sizeof *streams);
    struct table *table = malloc(sizeof *table);
    struct arrivals *arrivals = calloc(4, sizeof *arrivals);
    for (long round = atol(argv[2]); round; round--) {
        uint32_t version = 2 + any(2), units = 1 + any(6), size = version == 2 ? 128u << any(3) : 512u << any(4);
        uint8_t *memory = calloc(units, size);
        struct ring *ring = calloc(1, sizeof *ring);
        struct sequences *sequences = calloc(1, sizeof *sequences);
        struct framing *framings = calloc(2, sizeof *framings);
        struct line lines[] = {{.address = {239 | 1 << 8 | 1 << 16 | 1 << 24}, .place = 30001 | 4 << 16, .framing = 1, .channel = 1},
            {.address = {239 | 1 << 8 | 1 << 16 | 2 << 24}, .place = 30001 | 4 << 16, .channel = 1, .line = 1}};
        framings[0] = (struct framing){.sequence_offset = 10, .sequence_width = 8, .count_offset = 18, .count_width = 2,
            .big_endian = 1, .end_count = 0xffff, .epoch_width = any(2) ? 10 : 0};
        framings[1] = (struct framing){.sequence_offset = any(3) ? 10 : any(70), .sequence_width = any(2) ? 8 : 4,
            .count_offset = any(3) ? 18 : any(70), .count_width = any(2) ? 2 : 0, .big_endian = any(4) != 0,
            .scope_offset = any(60), .scope_width = any(9), .epoch_offset = any(60), .epoch_width = any(17),
            .high_offset = any(70), .high_mask = any(4) ? 0 : 0x70, .chain_offset = any(70), .chain_width = any(3) ? 0 : 2,
            .time_offset = any(70), .time_kind = any(4), .zero_unsequenced = any(2), .flag_offset = any(3) ? 0 : any(70)};
        *table = (struct table){.streams = streams, .arrivals = arrivals, .merged_limit = 4};
        *sequences = (struct sequences){.framings = framings, .table = table, .lines = lines, .framing_count = 2,
            .line_count = any(2) ? 0 : 2, .others = any(3), .many = any(2)};
        quietcore_walk_prepare(sequences);
        *ring = (struct ring){.memory = memory, .fixed_now_ns = 1000u * UINT64_C(1000000000) + any(2000000), .version = version,
            .unit_bytes = size, .units = units, .stamp_kind = any(4) ? 0 : 1u << 29, .super_bytes = any(3) ? 0 : any(2000)};
        for (uint32_t unit = 0; unit < units; unit++)
            (version == 3 ? make_block : any(2) ? make_frame : make_short)(memory + unit * size, size);
        for (uint32_t writes = any(6); writes; writes--)
            put32(memory + any(units) * size + (any(2) ? any(112) : any(size - 3)), hostile());
        struct tape tape = {.memory = malloc(1024), .capacity = 1024, .packets_left = 1 + any(50), .bytes_left = any(8000),
            .tagged = any(2)};
        ring->tape = any(3) ? &tape : NULL;
        quietcore_walk_drain(ring, sequences);
        while (quietcore_tape_pump(&tape, nowhere) > 0)
            ;
        quietcore_walk_drain(ring, sequences);
        if (tape.put + tape.lost + tape.after != (ring->tape ? ring->packets : 0) || tape.head - tape.tail > tape.capacity)
            return 1;
        taped += tape.pumped;
        free(tape.memory);
        uint64_t held = ring->latency.negative + ring->unstamped;
        for (int i = 0; i < BUCKETS; i++)
            held += ring->latency.buckets[i];
        if (held != ring->packets) {
            fprintf(stderr, "the histogram holds %llu of %llu\n", (unsigned long long)held, (unsigned long long)ring->packets);
            return 1;
        }
        totals[0] += ring->packets, totals[1] += ring->malformed_frames, totals[2] += ring->malformed_blocks;
        for (uint32_t i = 0; i < table->used; i++)
            catch_up(&streams[i]), totals[3] += streams[i].expected - streams[i].behind;
        memset(streams, 0, table->used * sizeof *streams), memset(arrivals, 0, table->merged_used * sizeof *arrivals);
        free(memory), free(ring), free(sequences), free(framings);
    }
    free(streams), free(arrivals), free(table);
    if (taped < 1000)
        return 1;
    printf("%llu %llu %llu %llu\n", (unsigned long long)totals[0], (unsigned long long)totals[1],
           (unsigned long long)totals[2], (unsigned long long)totals[3]);
    return 0;
}
