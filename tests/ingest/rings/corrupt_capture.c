/* Feeds capture.h corrupt files in pieces, each in memory of exactly its size, under the sanitizers.
 * usage: corrupt_capture SEED ROUNDS
 * Prints packets, malformed frames, malformed blocks, numbers, and how many files were whole, cut and broken: a test checks
 * that all of them were met. */
#include "walk.c"
#include <stdio.h>
#include <stdlib.h>

static uint64_t state;
static uint8_t file[8192];
static uint32_t size;

static uint32_t any(uint32_t below)
{
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 16) % below;
}

static void put(uint32_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        file[size++] = (uint8_t)((uint64_t)value >> 8 * i);
}

/* A packet of a random link type's shape, cut anywhere in one of four; returns how many bytes it has. */
static uint32_t frame(uint32_t link_bytes)
{
    uint8_t bytes[20 + 64] = {0};
    uint8_t *ip = bytes + link_bytes;
    ip[0] = any(4) ? 0x45 : 0x60, ip[6] = any(4) ? 0x40 : 17, ip[9] = 17, ip[16] = 239, ip[19] = (uint8_t)any(100);
    ip[22] = 0x75, ip[23] = 0x31, ip[25] = 44, ip[45] = (uint8_t)any(40), ip[47] = (uint8_t)any(3);
    if (link_bytes >= 14)
        bytes[link_bytes - 2] = any(5) ? 0x08 : 0x86, bytes[link_bytes - 1] = bytes[link_bytes - 2] == 8 ? 0 : 0xdd;
    if (link_bytes == 20)
        bytes[0] = 8;
    if (link_bytes == 4)
        bytes[any(2) * 3] = any(4) ? 2 : 30;
    uint32_t length = any(4) ? link_bytes + 64 : any(link_bytes + 64);
    memcpy(file + size, bytes, length);
    size += length;
    return length;
}

static const uint32_t links[][2] = {{1, 14}, {1, 14}, {1, 14}, {101, 0}, {113, 16}, {276, 20}, {0, 4}, {228, 0}, {127, 14}};

static void make_pcap(void)
{
    uint32_t link = any(9);
    put(any(2) ? 0xa1b2c3d4 : 0xa1b23c4d, 4), put(2, 2), put(4, 2), put(0, 4), put(0, 4), put(65535, 4), put(links[link][0], 4);
    while (size < 6000 && any(20)) {
        uint32_t at = size;
        put(1000, 4), put(any(1000000), 4), put(0, 8);
        uint32_t length = frame(links[link][1]), shown = length + any(2);
        memcpy(file + at + 8, &length, 4), memcpy(file + at + 12, &shown, 4);
    }
}

static void close_block(uint32_t at)
{
    while (size % 4)
        file[size++] = 0;
    uint32_t total = size - at + 4;
    memcpy(file + at + 4, &total, 4);
    put(total, 4);
}

static void make_option(void)
{
    static const uint32_t codes[] = {2, 4, 5, 7, 9, 14};
    uint32_t code = codes[any(6)], length = any(8) ? (code == 9 ? 1 : 8) : any(12);
    put(code, 2), put(length, 2);
    for (uint32_t i = 0; i < ((length + 3) & ~3u); i++)
        file[size++] = (uint8_t)(any(3) ? 0 : any(256));
}

static uint32_t make_block(uint32_t kind, uint32_t link)
{
    uint32_t at = size;
    put(kind, 4), put(0, 4);
    if (kind == BLOCK_SECTION)
        put(0x1a2b3c4d, 4), put(1, 4), put(0xffffffff, 4), put(0xffffffff, 4);
    if (kind == BLOCK_INTERFACE)
        link = any(9), put(links[link][0], 4), put(any(3) ? 0 : 60, 4);
    if (kind == BLOCK_SIMPLE_PACKET) {
        uint32_t place = size;
        put(0, 4);
        uint32_t length = frame(links[link][1]);
        memcpy(file + place, &length, 4);
    }
    if (kind == BLOCK_PACKET || kind == BLOCK_OLD_PACKET) {
        put(any(10) ? 0 : 1, kind == BLOCK_PACKET ? 4 : 2), put(0, kind == BLOCK_PACKET ? 0 : 2);
        put(any(50) ? 1 : 0xffffffff, 4), put(any(1u << 31), 4), put(0, 8);
        uint32_t length = frame(links[link][1]), shown = length + any(2);
        memcpy(file + at + 20, &length, 4), memcpy(file + at + 24, &shown, 4);
        while (size % 4)
            file[size++] = 0;
    }
    if (kind == BLOCK_STATISTICS)
        put(any(3) ? 0 : any(5), 4), put(0, 8);
    for (uint32_t options = kind == BLOCK_SIMPLE_PACKET ? 0 : any(3); options; options--)
        make_option();
    close_block(at);
    return link;
}

static void make_pcapng(void)
{
    static const uint32_t kinds[] = {BLOCK_PACKET, BLOCK_PACKET, BLOCK_PACKET, BLOCK_PACKET, BLOCK_OLD_PACKET,
        BLOCK_SIMPLE_PACKET, BLOCK_STATISTICS, BLOCK_INTERFACE, 0xbad};
    make_block(BLOCK_SECTION, 0);
    uint32_t link = make_block(BLOCK_INTERFACE, 0);
    while (size < 6000 && any(20)) {
        uint32_t kind = any(30) ? kinds[any(9)] : BLOCK_SECTION, other = make_block(kind, link);
        if (kind == BLOCK_SECTION)
            link = make_block(BLOCK_INTERFACE, 0);
        else if (kind != BLOCK_INTERFACE)
            link = other;
    }
}

static void corrupt(void)
{
    static const uint32_t values[] = {0, 1, 8, 12, 0xff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffffc, 262144, 262145};
    for (uint32_t writes = any(2) ? 0 : any(8); writes; writes--) {
        uint32_t value = any(2) ? values[any(12)] : any(300);
        memcpy(file + any(size - 4), &value, any(2) ? 4 : 1);
    }
    if (!any(4))
        size = 4 + any(size - 3);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    state = strtoull(argv[1], NULL, 10) * 2 + 88172645463325252u;
    uint64_t totals[7] = {0};
    struct capture *capture = malloc(sizeof *capture);
    struct ring *ring = calloc(1, sizeof *ring);
    struct sequences *sequences = malloc(sizeof *sequences);
    struct stream *streams = calloc(STREAMS, sizeof *streams);
    struct table *table = malloc(sizeof *table);
    for (long round = atol(argv[2]); round; round--) {
        size = 0;
        (any(2) ? make_pcap : make_pcapng)();
        corrupt();
        memset(capture, 0, sizeof *capture), memset(ring, 0, sizeof *ring), memset(sequences, 0, sizeof *sequences);
        ring->version = 3;
        struct framing framing = {.sequence_offset = any(3) ? 10 : any(70), .sequence_width = any(2) ? 8 : 4,
            .count_offset = any(3) ? 18 : any(70), .count_width = any(2) ? 2 : 0, .big_endian = any(4) != 0,
            .time_offset = any(70), .time_kind = any(4)};
        *table = (struct table){.streams = streams};
        sequences->framings = &framing, sequences->table = table, sequences->framing_count = sequences->others = 1;
        quietcore_walk_prepare(sequences);
        capture->capacity = any(4) ? 300000 : 200;
        uint64_t at = 0;
        uint32_t step = any(2) ? 8192 : 1 + any(700), more = 0;
        while (!capture->ended) {
            uint64_t left = size - at, piece = left < step + more ? left : step + more;
            if (at > size)
                return 3;
            uint8_t *memory = malloc(piece ? piece : 1);
            memcpy(memory, file + at, piece);
            capture->piece = memory, capture->size = piece, capture->left = left;
            uint64_t moved = quietcore_walk_capture(capture, ring, sequences);
            free(memory);
            if (!moved && !capture->ended && piece == left)
                return 4;
            more = moved ? 0 : more + step;
            at += moved;
        }
        totals[0] += ring->packets, totals[1] += ring->malformed_frames, totals[2] += ring->malformed_blocks;
        for (uint32_t i = 0; i < table->used; i++)
            catch_up(&streams[i]), totals[3] += streams[i].expected - streams[i].behind;
        memset(streams, 0, table->used * sizeof *streams);
        if (capture->ended >= CAPTURE_WHOLE && capture->ended <= CAPTURE_BROKEN)
            totals[3 + capture->ended]++;
    }
    free(capture), free(ring), free(sequences), free(streams), free(table);
    for (int i = 0; i < 7; i++)
        printf("%llu ", (unsigned long long)totals[i]);
    puts("");
    return 0;
}
