/* Walks packet rings where they lie: no copy, no allocation, no system call per packet.
 *
 * Loaded by ctypes (which releases the interpreter's lock during a call), so nothing of Python is included here. One
 * translation unit in rooms: walk.h what is shared with Python, shared.h what readers share, sequence.h the accounting and gaps.h
 * its memory, datagram.h from a packet to its number, frames.h the rings. ingest/rings/walk_python.py does the same in Python; tests hold the two to identical counters.
 */
#define _GNU_SOURCE
#include "frames.h"
#include "capture.h"
#include <errno.h>
#include <poll.h>
#include <sys/prctl.h>

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

/* ---- what Python calls --------------------------------------------------------------------------------------------- */

EXPORT uint32_t quietcore_walk_abi(void)
{
    return ABI;
}

/* Sizes of the structures above, for the loader to compare with its own. */
EXPORT uint32_t quietcore_walk_size(uint32_t which)
{
    const size_t sizes[] = {
        sizeof(struct ring), sizeof(struct reader), sizeof(struct sequences), sizeof(struct framing),
        sizeof(struct stream), sizeof(struct line), sizeof(struct arrivals), sizeof(struct table),
    };
    return which < sizeof sizes / sizeof *sizes ? (uint32_t)sizes[which] : 0;
}

EXPORT uint32_t quietcore_walk_bucket(uint64_t value)
{
    return bucket_of(value);
}

static uint64_t low_bits(uint32_t width)
{
    return width >= 8 ? ~UINT64_C(0) : (UINT64_C(1) << (8 * width)) - 1;
}

static uint32_t end_of(uint32_t offset, uint32_t width)
{
    return width ? offset + width : 0;
}

static uint32_t larger(uint32_t one, uint32_t other)
{
    return one > other ? one : other;
}

static int has_flags(const struct framing *framing)
{
    int any = 0;
    for (uint32_t value = 0; value < sizeof framing->flags; value++)
        any |= framing->flags[value];
    return any;
}

static void prepare(const struct sequences *sequences, struct framing *framing)
{
    uint32_t needed = end_of(framing->sequence_offset, framing->sequence_width), wide;
    needed = larger(needed, end_of(framing->count_offset, framing->count_width));
    needed = larger(needed, end_of(framing->scope_offset, framing->scope_width));
    needed = larger(needed, end_of(framing->epoch_offset, framing->epoch_width));
    needed = larger(needed, end_of(framing->chain_offset, framing->chain_width));
    needed = larger(needed, end_of(framing->time_offset, framing->time_kind ? 8 : 0));
    needed = larger(needed, end_of(framing->high_offset, framing->high_mask ? 1 : 0));
    framing->epoch_words = framing->epoch_width > 8 ? 2 : 1;
    wide = larger(framing->scope_offset + 8, framing->epoch_offset + 16);
    framing->needed = larger(needed, framing->flag_offset + 1);
    framing->wide = larger(framing->needed, wide);
    framing->common = !sequences->line_count && framing->sequence_width == 8 && framing->big_endian &&
                      framing->count_width == 2 && !framing->scope_width && !framing->chain_width && !framing->time_kind &&
                      !framing->high_mask && !has_flags(framing) && framing->epoch_offset == 0 && framing->wide >= 16;
    framing->scope_bits = framing->scope_width ? low_bits(framing->scope_width) : 0;
    framing->epoch_bits[0] = framing->epoch_width ? low_bits(framing->epoch_width) : 0;
    if (framing->epoch_mask)
        framing->epoch_bits[0] &= framing->epoch_mask;
    framing->epoch_bits[1] = framing->epoch_width > 8 ? low_bits(framing->epoch_width - 8) : 0;
}

/* What follows from the framings and lines that were filled in; before the first drain. */
EXPORT void quietcore_walk_prepare(struct sequences *sequences)
{
    for (uint32_t at = 0; at < sequences->framing_count; at++)
        prepare(sequences, &sequences->framings[at]);
    for (uint32_t at = 0; at < ROUTES; at++)
        sequences->routes[at].group = NOTHING_NEXT; /* no group has all bits, but one has none: 0.0.0.0, port 0 */
    const struct framing *others = sequences->others ? &sequences->framings[sequences->others - 1] : NULL;
    sequences->usual = others && others->common ? others : NULL;
    for (uint32_t at = 0; at < sequences->line_count; at++) {
        const struct line *line = &sequences->lines[at];
        uint32_t slot = slot_of(line->address[0] ^ line->address[1], line->place, 0);
        while (sequences->line_slots[slot])
            slot = (slot + 1) % SLOTS;
        sequences->line_slots[slot] = (uint16_t)(at + 1);
    }
}

/* Everything that is ready in one ring, at most one turn of it. Returns frames (V2) or blocks (V3). */
EXPORT uint64_t quietcore_walk_drain(struct ring *ring, struct sequences *sequences)
{
    uint64_t units = ring->version == 2 ? drain_frames(ring, sequences) : drain_blocks(ring, sequences);
    let_all(sequences);
    return units;
}

/* A stream as it is now, while readers fill the table: all up to the bits of its window, or without histograms only what comes
 * before them. And of a merged channel its arrivals without the window, where there is a place for them. Returns 0 where there
 * is no such stream yet. */
EXPORT uint32_t quietcore_walk_copy(
    struct table *table, uint32_t place, struct stream *stream, struct arrivals *arrivals, uint32_t histograms)
{
    if (place >= __atomic_load_n(&table->used, __ATOMIC_ACQUIRE))
        return 0;
    struct stream *from = &table->streams[place];
    if (!took_at_once(from))
        queue_for(table, from);
    memcpy(stream, from, histograms ? offsetof(struct stream, seen) : offsetof(struct stream, latency));
    if (arrivals && stream->place & MERGED)
        memcpy(arrivals, &table->arrivals[stream->channel - 1], offsetof(struct arrivals, tag));
    give_back(from);
    return 1;
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
