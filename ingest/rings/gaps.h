/* Gaps that may yet be filled from another ring, however far the stream has gone on.
 *
 * The window knows each of the last 8192 numbers. That is not enough for a stream that moved to another receiving CPU: its older
 * packets lie in another ring, which is read later, by another reader perhaps that had to wait for its CPU. So the longest
 * gaps of the last second are remembered, and a datagram from before a gap's end fills it, be it behind the window or not.
 * Only the stamps can tell: what came over the network later than the gap's end is stamped later, too, and stays outside.
 *
 * ingest/rings/gaps_python.py does the same. */
#ifndef QUIETCORE_GAPS_H
#define QUIETCORE_GAPS_H

#include "walk.h"

/* Whether the first was stamped up to a second before the second. Further back, somebody has set the clock. */
INLINE int soon_before(uint64_t first, uint64_t second)
{
    return second - first - 1 < SECOND_NS;
}

INLINE uint64_t numbers_of(const struct gap *gap)
{
    return gap->to - gap->from;
}

/* Remembers a gap, in the place of one that nobody will fill any more, else of a shorter one. */
static void open_gap(struct stream *stream, struct gap gap)
{
    if (stream->gap_count < GAPS) {
        stream->gaps[stream->gap_count++] = gap;
        return;
    }
    struct gap *shortest = &stream->gaps[0];
    for (struct gap *other = stream->gaps; other < stream->gaps + GAPS; other++) {
        if (other->stamp + SECOND_NS < gap.stamp) {
            *other = gap;
            return;
        }
        if (numbers_of(other) < numbers_of(shortest))
            shortest = other;
    }
    if (numbers_of(shortest) < numbers_of(&gap))
        *shortest = gap;
}

/* Takes numbers out of those gaps that end behind the stamp. Returns how many were in them. */
static uint64_t close_gaps(struct stream *stream, uint64_t from, uint64_t to, uint64_t stamp)
{
    uint64_t closed = 0;
    for (uint32_t at = 0; at < stream->gap_count; at++) {
        struct gap *gap = &stream->gaps[at], rest = *gap;
        uint64_t first = from > gap->from ? from : gap->from, end = to < gap->to ? to : gap->to;
        if (first >= end || stamp >= gap->stamp)
            continue;
        closed += end - first;
        if (first > gap->from && end < gap->to) {
            gap->to = first;
            rest.from = end;
            open_gap(stream, rest);
            break; /* no other gap holds any of them */
        }
        if (first > gap->from)
            gap->to = first;
        else if (end < gap->to)
            gap->from = end;
        else
            stream->gaps[at--] = stream->gaps[--stream->gap_count];
    }
    return closed;
}

#endif
