/* Streams that several readers account: a reader holds a stream as long as it writes to it.
 *
 * The common packet must not pay for this. So a reader keeps what it took until the end of its drain, and gives everything back
 * sooner, at the end of a block or batch, where another reader waits. Nobody waits while it holds: there is no deadlock. Tickets
 * are served in their order, so two readers of one stream take turns by blocks. A reader has routes only to streams that it
 * holds, which makes the short way for the common packet safe without a look at a lock. With one reader nothing here is done.
 *
 * A turn is published by a release store and read with acquire: what the former holder wrote is seen by the next. */
#ifndef QUIETCORE_SHARED_H
#define QUIETCORE_SHARED_H

#include "walk.h"
#include <time.h>

enum {
    SPINS = 1024,        /* some tens of microseconds: a block or two; beyond, the holder does not run */
    PATIENCE_NS = 20000, /* then asleep: on a real-time CPU a spinning reader might keep the holder from running */
};

INLINE uint32_t place_of(uint64_t group)
{
    return (uint32_t)(group * UINT64_C(0x9e3779b97f4a7c15) >> 56);
}

/* Destination and port as they lie in the headers of IPv4. */
INLINE uint64_t group_of(const struct stream *stream)
{
    return stream->address[0] | (uint64_t)__builtin_bswap16((uint16_t)stream->place) << 48;
}

static void be_patient(uint32_t tries)
{
    if (tries < SPINS) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
        return;
    }
    struct timespec time = {.tv_nsec = PATIENCE_NS};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
}

static int took_at_once(struct stream *stream)
{
    uint32_t turn = __atomic_load_n(&stream->turn, __ATOMIC_ACQUIRE);
    return __atomic_compare_exchange_n(&stream->ticket, &turn, turn + 1, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void queue_for(struct table *table, struct stream *stream)
{
    __atomic_fetch_add(&table->waiting, 1, __ATOMIC_RELAXED);
    uint32_t ticket = __atomic_fetch_add(&stream->ticket, 1, __ATOMIC_RELAXED);
    for (uint32_t tries = 0; __atomic_load_n(&stream->turn, __ATOMIC_ACQUIRE) != ticket; tries++)
        be_patient(tries);
    __atomic_fetch_sub(&table->waiting, 1, __ATOMIC_RELAXED);
}

static void give_back(struct stream *stream)
{
    __atomic_store_n(&stream->turn, stream->turn + 1, __ATOMIC_RELEASE);
}

/* Gives back everything that this reader holds, and forgets the ways to it. */
OUT_OF_LINE void let_go(struct sequences *sequences)
{
    for (uint32_t at = 0; at < sequences->held_count; at++) {
        uint32_t place = sequences->held[at];
        struct stream *stream = &sequences->table->streams[place];
        struct route *route = &sequences->routes[place_of(group_of(stream))];
        if (route->stream == stream)
            *route = (struct route){NOTHING_NEXT, NULL};
        sequences->holds[place / 64] &= ~(UINT64_C(1) << place % 64);
        give_back(stream);
    }
    sequences->held_count = 0;
}

OUT_OF_LINE void hold_shared(struct sequences *sequences, struct stream *stream)
{
    uint32_t place = (uint32_t)(stream - sequences->table->streams);
    if (sequences->holds[place / 64] >> place % 64 & 1)
        return;
    if (!took_at_once(stream)) {
        let_go(sequences);
        queue_for(sequences->table, stream);
    }
    sequences->holds[place / 64] |= UINT64_C(1) << place % 64;
    sequences->held[sequences->held_count++] = (uint16_t)place;
}

/* From here on the stream is this reader's, and whatever it held before may be another's. */
INLINE void hold(struct sequences *sequences, struct stream *stream)
{
    if (RARE(sequences->many))
        hold_shared(sequences, stream);
}

/* At the end of a block or batch. A call, not in line: the loop over the packets of a block was measured 4 % slower with it. */
OUT_OF_LINE void let_others(struct sequences *sequences)
{
    if (sequences && RARE(sequences->many) && __atomic_load_n(&sequences->table->waiting, __ATOMIC_RELAXED))
        let_go(sequences);
}

/* At the end of a drain: who sleeps holds nothing. */
INLINE void let_all(struct sequences *sequences)
{
    if (sequences && RARE(sequences->many))
        let_go(sequences);
}

static void lock_table(struct sequences *sequences)
{
    for (uint32_t tries = 0; sequences->many && __atomic_exchange_n(&sequences->table->adding, 1, __ATOMIC_ACQUIRE); tries++)
        be_patient(tries);
}

static void unlock_table(struct sequences *sequences)
{
    __atomic_store_n(&sequences->table->adding, 0, __ATOMIC_RELEASE);
}

#endif
