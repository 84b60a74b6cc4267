/* Sequence accounting: what of a stream was received, lost, repeated, late; and of a channel that comes over two lines.
 *
 * ingest/rings/sequence_python.py does the same number by number; tests hold the two to identical counters. */
#ifndef QUIETCORE_SEQUENCE_H
#define QUIETCORE_SEQUENCE_H

#include "gaps.h"
#include "shared.h"

#define MERGED (UINT64_C(1) << 32)

/* One datagram's numbers, and when it came. */
struct numbers {
    uint64_t sequence, count, epoch, stamp;
    int begins; /* the feed says that its numbers begin anew */
};

INLINE int seen(const struct stream *stream, uint64_t number)
{
    return stream->seen[number % WINDOW / 64] >> (number % 64) & 1;
}

static void mark(struct stream *stream, uint64_t from, uint64_t count, int value)
{
    while (count) {
        uint64_t bit = from % 64, length = 64 - bit < count ? 64 - bit : count;
        uint64_t bits = (length == 64 ? ~UINT64_C(0) : (UINT64_C(1) << length) - 1) << bit, *word = &stream->seen[from % WINDOW / 64];
        *word = value ? *word | bits : *word & ~bits;
        from += length;
        count -= length;
    }
}

/* The common way only counts on; whoever needs more asks for this first. */
INLINE void catch_up(struct stream *stream)
{
    if (stream->next != NOTHING_NEXT)
        stream->expected = stream->next;
}

INLINE void let_go_on(struct stream *stream)
{
    stream->next = stream->outside_run || stream->expected > LAST_SEQUENCE ? NOTHING_NEXT : stream->expected;
}

/* Writes down which numbers came in order since. */
static void settle(struct stream *stream)
{
    uint64_t run = stream->expected - stream->marked;
    if (run > WINDOW)
        run = WINDOW;
    mark(stream, stream->expected - run, run, 1);
    stream->marked = stream->expected;
}

/* The newest numbers, behind a gap or not: nothing from expected on was seen before. */
static void advance(struct stream *stream, uint64_t sequence, uint64_t count)
{
    uint64_t gap = sequence - stream->expected;
    if (gap) {
        settle(stream);
        mark(stream, sequence - (gap < WINDOW ? gap : WINDOW), gap < WINDOW ? gap : WINDOW, 0);
        stream->marked = sequence;
        stream->lost += gap;
        stream->behind += gap;
    }
    stream->expected = sequence + count;
}

static void start(struct stream *stream, const struct numbers *numbers)
{
    uint64_t received = stream->expected - stream->behind;
    memset(stream->seen, 0, sizeof stream->seen);
    stream->first = stream->marked = stream->expected = numbers->sequence;
    stream->behind = numbers->sequence - received;
    stream->outside_run = stream->gap_count = 0;
    stream->started = 1;
    stream->former_epoch = stream->epoch;
    stream->epoch = numbers->epoch;
    stream->newest_stamp = stream->begun_stamp = numbers->stamp;
    advance(stream, numbers->sequence, numbers->count);
}

/* Numbers behind the newest: each was either counted as lost and comes late, or it is a repetition. One that was stamped
 * before the newest was not reordered on its way: it lay in another CPU's ring, which was read later. */
static void late(struct stream *stream, const struct numbers *numbers)
{
    uint64_t old = stream->expected - numbers->sequence, end = numbers->sequence + (numbers->count < old ? numbers->count : old);
    settle(stream);
    if (stream->gap_count)
        close_gaps(stream, numbers->sequence, end, 0);
    for (uint64_t number = numbers->sequence; number < end; number++) {
        if (seen(stream, number)) {
            stream->duplicate++;
        } else {
            mark(stream, number, 1, 1);
            stream->reordered += numbers->stamp >= stream->newest_stamp;
            stream->behind--;
            stream->lost--;
        }
    }
    if (numbers->count > old) {
        advance(stream, stream->expected, numbers->count - old);
        stream->newest_stamp = numbers->stamp;
    }
}

/* Behind the window, out of another ring: numbers that gaps still wait for. Returns 0 where there are none of them. */
static int filled(struct stream *stream, const struct numbers *numbers)
{
    uint64_t behind = stream->expected - numbers->sequence, count = numbers->count < behind ? numbers->count : behind;
    uint64_t end = numbers->sequence + count, window = stream->expected - (stream->expected < WINDOW ? stream->expected : WINDOW);
    uint64_t closed = close_gaps(stream, numbers->sequence, end, numbers->stamp);
    if (!closed)
        return 0;
    settle(stream);
    if (end > window)
        mark(stream, window, end - window, 1);
    stream->behind -= closed;
    stream->lost -= closed;
    stream->duplicate += count - closed;
    stream->outside_run = 0;
    if (numbers->count > behind)
        advance(stream, stream->expected, numbers->count - behind);
    return 1;
}

/* A stray packet must not count as billions lost; a sequence that began anew must not stay unfollowed. */
static void stray(struct stream *stream, const struct numbers *numbers)
{
    stream->outside++;
    if (++stream->outside_run < OUTSIDE_RUN)
        return;
    stream->resets++;
    start(stream, numbers);
}

/* Older than the stream: what lay in a ring that was read later, or comes on the slower of two lines. Where a feed began anew
 * just then, it is still found: a second later. What came before the newest says nothing of a new beginning either. */
static int before_the_beginning(const struct stream *stream, const struct numbers *numbers)
{
    if (soon_before(numbers->stamp, stream->newest_stamp))
        return 1;
    return numbers->sequence < stream->first && stream->first - numbers->sequence <= WINDOW &&
           numbers->stamp < stream->begun_stamp + SECOND_NS;
}

/* A feed that begins anew says so in several datagrams, or in copies of one: those that come soon after are not a second begin. */
static int begins_anew(const struct stream *stream, const struct numbers *numbers)
{
    if (numbers->epoch != stream->epoch)
        return 1;
    return numbers->begins && numbers->sequence < stream->expected && numbers->stamp > stream->begun_stamp + SECOND_NS;
}

/* Whether the number can be of this sequence. One far ahead that came before its beginning is of the sequence before. */
static int within(const struct stream *stream, const struct numbers *numbers)
{
    uint64_t ahead = numbers->sequence - stream->expected, behind = stream->expected - numbers->sequence;
    if (numbers->sequence < stream->expected)
        return behind <= WINDOW && numbers->sequence >= stream->first;
    return ahead <= (soon_before(numbers->stamp, stream->begun_stamp) ? WINDOW : FAR_AHEAD);
}

static int followed(struct stream *stream, const struct numbers *numbers)
{
    uint64_t sequence = numbers->sequence;
    if (!stream->started) {
        stream->epoch = numbers->epoch;
        start(stream, numbers);
        return 1;
    }
    if (numbers->epoch != stream->epoch && numbers->epoch == stream->former_epoch) {
        if (soon_before(numbers->stamp, stream->begun_stamp))
            stream->outside++; /* the end of the former session, in a ring that is read later */
        else
            stray(stream, numbers); /* or overtaken by the begin of this one */
        return 0;
    }
    if (begins_anew(stream, numbers)) {
        stream->resets++;
        start(stream, numbers);
        return 1;
    }
    if (!within(stream, numbers)) {
        if (sequence < stream->expected && filled(stream, numbers))
            return 0;
        if (before_the_beginning(stream, numbers))
            stream->outside++;
        else
            stray(stream, numbers);
        return 0;
    }
    stream->outside_run = 0;
    stream->heartbeats += numbers->count == 0;
    if (sequence < stream->expected) {
        late(stream, numbers);
    } else {
        if (sequence != stream->expected)
            open_gap(stream, (struct gap){stream->expected, sequence, numbers->stamp});
        advance(stream, sequence, numbers->count);
        stream->newest_stamp = numbers->stamp;
    }
    return 1;
}

/* Returns 0 where the datagram was outside of what is followed. */
static int follow(struct stream *stream, const struct numbers *numbers)
{
    int inside = followed(stream, numbers);
    let_go_on(stream);
    return inside;
}

/* A number of 32 bits begins again at 0 after 4294967295: it stands for the one next to the expected. */
INLINE uint64_t nearest_to(const struct stream *stream, uint32_t sequence)
{
    if (!stream->started)
        return sequence | UINT64_C(1) << 32;
    return stream->expected + (uint64_t)(int64_t)(int32_t)(sequence - (uint32_t)stream->expected);
}

/* ---- finding a stream ---------------------------------------------------------------------------------------------- */

INLINE uint32_t slot_of(uint64_t address, uint64_t place, uint64_t scope)
{
    return (uint32_t)((address ^ place << 32 ^ scope) * UINT64_C(0x9e3779b97f4a7c15) >> 52);
}

struct key {
    uint64_t address[2], place, scope;
};

INLINE int is_of(const struct stream *stream, const struct key *key)
{
    return !((stream->address[0] ^ key->address[0]) | (stream->address[1] ^ key->address[1]) | (stream->place ^ key->place) |
             (stream->scope ^ key->scope));
}

/* The stream of a key; where there is none yet, NULL and the slot for it. What a slot leads to keeps its key for good. */
INLINE struct stream *find(const struct sequences *sequences, const struct key *key, uint32_t *free)
{
    uint32_t slot = slot_of(key->address[0] ^ key->address[1], key->place, key->scope);
    const uint16_t *slots = sequences->table->stream_slots;
    for (uint32_t place; (place = __atomic_load_n(&slots[slot], __ATOMIC_ACQUIRE)); slot = (slot + 1) % SLOTS) {
        struct stream *stream = &sequences->table->streams[place - 1];
        if (is_of(stream, key))
            return stream;
    }
    *free = slot;
    return NULL;
}

/* What a stream is from its first datagram on. */
struct origin {
    uint32_t framing, channel, line; /* channel: both + 1; 0: none */
};

static struct stream *add(struct table *table, const struct key *key, const struct origin *origin, uint32_t slot)
{
    struct stream *stream = &table->streams[table->used];
    memcpy(stream->address, key->address, sizeof stream->address);
    stream->place = key->place;
    stream->scope = key->scope;
    stream->framing = origin->framing;
    stream->channel = key->place & MERGED ? ++table->merged_used : origin->channel;
    stream->line = origin->line;
    stream->nearest_ns = INT64_MAX;
    stream->next = NOTHING_NEXT;
    __atomic_store_n(&table->used, table->used + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&table->stream_slots[slot], (uint16_t)table->used, __ATOMIC_RELEASE);
    return stream;
}

/* The stream of a key that was not found; NULL where there is no room for another. */
OUT_OF_LINE struct stream *made(struct sequences *sequences, const struct key *key, const struct origin *origin)
{
    struct table *table = sequences->table;
    uint32_t slot = 0;
    if (__atomic_load_n(&table->used, __ATOMIC_ACQUIRE) == STREAMS)
        return find(sequences, key, &slot);
    lock_table(sequences);
    struct stream *stream = find(sequences, key, &slot); /* another reader may have been faster */
    int full = table->used == STREAMS || (key->place & MERGED && table->merged_used == table->merged_limit);
    if (!stream && !full)
        stream = add(table, key, origin, slot);
    unlock_table(sequences);
    return stream;
}

static const struct line *line_of(const struct sequences *sequences, const struct key *key)
{
    uint32_t slot = slot_of(key->address[0] ^ key->address[1], key->place, 0);
    for (; sequences->line_slots[slot]; slot = (slot + 1) % SLOTS) {
        const struct line *line = &sequences->lines[sequences->line_slots[slot] - 1];
        if (line->place == key->place && line->address[0] == key->address[0] && line->address[1] == key->address[1])
            return line;
    }
    return NULL;
}

/* ---- two lines of one channel -------------------------------------------------------------------------------------- */

/* What both lines of a stream's channel bring together; NULL where there is no room for another. */
static struct stream *merged_of(struct sequences *sequences, struct stream *stream)
{
    if (stream->merged)
        return &sequences->table->streams[stream->merged - 1];
    struct key key = {.place = MERGED | stream->channel, .scope = stream->scope};
    struct origin origin = {.framing = stream->framing, .line = NO_LINE};
    uint32_t slot;
    struct stream *merged = find(sequences, &key, &slot);
    if (!merged && !(merged = made(sequences, &key, &origin)))
        return NULL;
    stream->merged = (uint32_t)(merged - sequences->table->streams) + 1;
    return merged;
}

/* Who came first with each number, and by how much. Rings are read one after the other, so the stamps decide, not the order. */
static void arrive(struct arrivals *arrivals, uint32_t line, const struct numbers *numbers)
{
    uint64_t end = numbers->sequence + numbers->count, from = numbers->count > WINDOW ? end - WINDOW : numbers->sequence;
    for (uint64_t number = from; number < end; number++) {
        uint64_t at = number % WINDOW, tag = number + 1 + numbers->epoch * UINT64_C(0x9e3779b97f4a7c15), lead;
        uint32_t other = arrivals->line[at];
        if (arrivals->tag[at] != tag) {
            arrivals->tag[at] = tag;
            arrivals->stamp[at] = numbers->stamp;
            arrivals->line[at] = (uint8_t)line;
            arrivals->wins[line]++;
        } else if (other != line && other != NO_LINE) {
            uint32_t first = numbers->stamp < arrivals->stamp[at] ? line : other;
            lead = first == line ? arrivals->stamp[at] - numbers->stamp : numbers->stamp - arrivals->stamp[at];
            arrivals->wins[other]--;
            arrivals->wins[first]++;
            arrivals->both++;
            arrivals->line[at] = NO_LINE;
            measure(&arrivals->skew[first], lead, bucket_of(lead));
        }
    }
}

/* A number that one line lost is lost to the channel until the other brings it: late there, and counted as received. The
 * stream itself may be another reader's afterwards. */
static void merge(struct sequences *sequences, struct stream *stream, const struct numbers *numbers)
{
    struct stream *merged = merged_of(sequences, stream);
    uint32_t line = stream->line;
    if (!merged)
        return;
    hold(sequences, merged);
    catch_up(merged);
    if (follow(merged, numbers))
        arrive(&sequences->table->arrivals[merged->channel - 1], line, numbers);
}

#endif
