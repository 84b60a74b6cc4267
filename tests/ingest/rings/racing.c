/* Readers that race for the same streams, for ThreadSanitizer. usage: racing SEED ROUNDS
 * Streams wander from ring to ring; a thread reads each ring while another one copies the streams, as reports do. Every number
 * has to be accounted for at the end. Prints numbers received, numbers lost, numbers on both lines, and streams copied. */
#include "walk.c"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    READERS = 3,
    BLOCK = 8192,
    BLOCKS = 1200,
    STRIDE = 168,
    WANDERERS = 10, /* that change their ring often, but have no more numbers than the window */
    NUMBERS = 2500,
    FAR = 24000, /* of the last stream, which changes its ring seldom */
};

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

struct filling {
    uint8_t *memory;
    uint32_t block, at, packets;
};

static void close_block(struct filling *filling)
{
    uint8_t *block = filling->memory + filling->block * BLOCK;
    put32(block + 12, filling->packets), put32(block + 16, 48);
    __atomic_store_n((uint32_t *)(void *)(block + 8), filling->packets != 0, __ATOMIC_RELEASE);
    filling->block++, filling->at = 48, filling->packets = 0;
}

/* One datagram of a stream: 239.1.1.1 and a port of its own, MoldUDP64's header. */
static void put(struct filling *filling, uint32_t stream, uint64_t number, uint64_t stamp)
{
    if (filling->at + STRIDE > BLOCK)
        close_block(filling);
    if (filling->block >= BLOCKS)
        abort();
    uint8_t *header = filling->memory + filling->block * BLOCK + filling->at, *packet = header + 96;
    put32(header, STRIDE), put32(header + 4, (uint32_t)(stamp / 1000000000)), put32(header + 8, (uint32_t)(stamp % 1000000000));
    put32(header + 12, 78), put32(header + 16, 78), put32(header + 20, 1), put16(header + 24, 82), put16(header + 26, 96);
    put16(header + 50, 0x0008);
    memcpy(packet, (uint8_t[]){0x45, 0, 0, 64, 0, 0, 0x40, 0, 1, 17, 0, 0, 10, 0, 0, 1, 239, 1, 1, 1}, 20);
    packet[22] = 0x75, packet[23] = (uint8_t)(0x31 + stream), packet[25] = 44;
    uint64_t swapped = __builtin_bswap64(number);
    memcpy(packet + 38, &swapped, 8);
    packet[47] = 1;
    filling->at += STRIDE, filling->packets++;
}

struct race {
    struct ring ring;
    struct sequences sequences;
};

static uint32_t reading;

static void *read_all(void *argument)
{
    struct race *race = argument;
    while (quietcore_walk_drain(&race->ring, &race->sequences))
        ;
    __atomic_fetch_sub(&reading, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void *copy_all(void *argument)
{
    static struct stream stream;
    static struct arrivals arrivals;
    static uint64_t copied;
    do
        for (uint32_t place = 0; quietcore_walk_copy(argument, place, &stream, &arrivals, place & 1); place++)
            copied++;
    while (__atomic_load_n(&reading, __ATOMIC_ACQUIRE));
    return &copied;
}

static uint64_t expected_received, expected_lost;

static void fill(struct filling *fillings, uint64_t *stamp)
{
    uint64_t next[WANDERERS + 1];
    uint32_t at[WANDERERS + 1] = {0}, left = WANDERERS + 1;
    for (uint32_t stream = 0; stream <= WANDERERS; stream++)
        next[stream] = 2;
    while (left) {
        uint32_t stream = any(4) ? WANDERERS : any(WANDERERS), run = 1 + any(20);
        uint64_t last = stream == WANDERERS ? FAR : NUMBERS;
        if (!any(stream == WANDERERS ? 700 : 3))
            at[stream] = any(READERS);
        for (; run && next[stream] <= last; run--, next[stream]++) {
            int lose = next[stream] < last && !any(stream == WANDERERS ? 8000 : 100);
            expected_lost += lose, expected_received += !lose;
            *stamp += 50;
            if (!lose)
                put(&fillings[at[stream]], stream, next[stream], *stamp);
            left -= next[stream] == last;
        }
    }
    for (int i = 0; i < READERS; i++)
        close_block(&fillings[i]);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    state = strtoull(argv[1], NULL, 10) * 2 + 88172645463325252u;
    uint64_t totals[4] = {0};
    for (long round = atol(argv[2]); round; round--) {
        struct framing framing = {.sequence_offset = 10, .sequence_width = 8, .count_offset = 18, .count_width = 2, .big_endian = 1,
            .end_count = 0xffff, .epoch_width = 10};
        /* in every second round streams 0 and 1 are two lines of a channel, which takes the short way from all streams */
        struct line lines[] = {{.address = {239 | 1 << 8 | 1 << 16 | 1 << 24}, .place = 30001 | 4 << 16, .channel = 1},
            {.address = {239 | 1 << 8 | 1 << 16 | 1 << 24}, .place = 30002 | 4 << 16, .channel = 1, .line = 1}};
        struct table *table = calloc(1, sizeof *table);
        struct race *races = calloc(READERS, sizeof *races);
        struct filling fillings[READERS], first = {.memory = calloc(1, BLOCK * 2), .at = 48};
        table->streams = calloc(STREAMS, sizeof *table->streams);
        table->arrivals = calloc(4, sizeof *table->arrivals), table->merged_limit = 4;
        uint64_t stamp = 1000u * UINT64_C(1000000000);
        expected_received = WANDERERS + 1, expected_lost = 0;
        for (uint32_t stream = 0; stream <= WANDERERS; stream++)
            put(&first, stream, 1, stamp);
        close_block(&first);
        for (int i = 0; i < READERS; i++) {
            fillings[i] = (struct filling){.memory = calloc(BLOCKS, BLOCK), .at = 48};
            races[i].ring = (struct ring){.memory = fillings[i].memory, .version = 3, .unit_bytes = BLOCK, .units = BLOCKS,
                .fixed_now_ns = 2000u * UINT64_C(1000000000)};
            races[i].sequences = (struct sequences){.framings = &framing, .table = table, .lines = lines, .framing_count = 1,
                .line_count = round % 2 * 2, .others = 1, .many = 1};
            quietcore_walk_prepare(&races[i].sequences);
        }
        fill(fillings, &stamp);
        struct ring begin = races[0].ring; /* the streams begin with their first numbers, whichever ring is read first */
        begin.memory = first.memory, begin.units = 2;
        quietcore_walk_drain(&begin, &races[0].sequences);
        pthread_t threads[READERS], copier;
        reading = READERS;
        for (int i = 0; i < READERS; i++)
            if (pthread_create(&threads[i], NULL, read_all, &races[i]))
                return 3;
        if (pthread_create(&copier, NULL, copy_all, table))
            return 3;
        void *copied;
        for (int i = 0; i < READERS; i++)
            pthread_join(threads[i], NULL);
        pthread_join(copier, &copied);
        uint64_t received = 0, lost = 0, odd = 0;
        for (uint32_t place = 0; place < table->used; place++) {
            struct stream *stream = &table->streams[place];
            catch_up(stream);
            odd += stream->outside + stream->resets + (stream->ticket != stream->turn);
            if (stream->place & MERGED)
                totals[2] += table->arrivals[0].both, odd += stream->duplicate != table->arrivals[0].both;
            else
                received += stream->expected - stream->behind, lost += stream->lost, odd += stream->duplicate + stream->reordered;
        }
        if (received != expected_received || lost != expected_lost || odd) {
            fprintf(stderr, "received %llu of %llu, lost %llu of %llu, %llu otherwise\n", (unsigned long long)received,
                (unsigned long long)expected_received, (unsigned long long)lost, (unsigned long long)expected_lost,
                (unsigned long long)odd);
            return 1;
        }
        totals[0] += received, totals[1] += lost, totals[3] = *(uint64_t *)copied;
        for (int i = 0; i < READERS; i++)
            free(fillings[i].memory);
        free(first.memory), free(table->streams), free(table->arrivals), free(table), free(races);
    }
    for (int i = 0; i < 4; i++)
        printf("%llu ", (unsigned long long)totals[i]);
    puts("");
    return 0;
}
