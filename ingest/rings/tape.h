/* A tape: packets as pcapng blocks in a ring of bytes, which the walker fills and another thread empties into a file.
 *
 * The walker never waits: what does not fit is counted and left out. One thread puts, one pumps.
 *
 * Part of walk.c. ingest/rings/tape.py does the same in Python (PythonTape).
 */
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    STATUS_VLAN_TPID = 1 << 6, /* the kernel says of which kind the tag was that it took out (STATUS_VLAN) */
    TAPE_PIECE = 1 << 20,      /* bytes of one write */
};

struct tape {
    uint8_t *memory;
    uint64_t capacity; /* a power of two */
    uint64_t head;     /* bytes that were ever put, published with their contents */
    uint64_t tail;     /* bytes that were ever written, all of them whole records */
    uint64_t packets_left, bytes_left; /* that may still be put */
    uint64_t put, lost, after; /* packets: on the tape; that did not fit; that came when writing had ended */
    uint64_t pumped;           /* packets that were written */
    uint32_t tagged;           /* Ethernet: a VLAN tag has its place behind the addresses */
    uint32_t ended;            /* no more is put: a limit was reached (the walker's), or the file is full (the writer's) */
};

static uint64_t tape_copy(struct tape *tape, uint64_t at, const void *from, uint32_t size)
{
    uint64_t offset = at & (tape->capacity - 1), first = tape->capacity - offset;
    if (first > size)
        first = size;
    memcpy(tape->memory + offset, from, first);
    memcpy(tape->memory, (const uint8_t *)from + first, size - first);
    return at + size;
}

/* The tag that the kernel took out, as on the wire. Returns its bytes. */
static uint32_t vlan_tag(const struct ring *ring, const uint8_t *header, const struct fields *frame, uint8_t *tag)
{
    if (!ring->tape->tagged || !(frame->status & STATUS_VLAN) || frame->captured < 12)
        return 0;
    const uint8_t *at = header + (ring->version == 2 ? 24 : 32);
    uint32_t control = load16(at), kind = frame->status & STATUS_VLAN_TPID ? load16(at + (ring->version == 2 ? 2 : 4)) : 0x8100;
    tag[0] = (uint8_t)(kind >> 8), tag[1] = (uint8_t)kind, tag[2] = (uint8_t)(control >> 8), tag[3] = (uint8_t)control;
    return 4;
}

OUT_OF_LINE void tape_packet(const struct ring *ring, const uint8_t *header_at, const struct fields *frame, uint64_t stamp)
{
    struct tape *tape = ring->tape;
    uint8_t tag[4];
    uint32_t extra = vlan_tag(ring, header_at, frame, tag), captured = frame->captured + extra;
    uint32_t total = 32 + ((captured + 3) & ~3u), before = extra ? 12 : 0;
    if (__atomic_load_n(&tape->ended, __ATOMIC_RELAXED)) {
        tape->after++;
        return;
    }
    if (!tape->packets_left || total > tape->bytes_left) {
        __atomic_store_n(&tape->ended, 1, __ATOMIC_RELAXED);
        tape->after++;
        return;
    }
    if (tape->capacity - (tape->head - __atomic_load_n(&tape->tail, __ATOMIC_ACQUIRE)) < total) {
        tape->lost++;
        return;
    }
    const uint32_t header[] = {6, total, 0, (uint32_t)(stamp >> 32), (uint32_t)stamp, captured, frame->length + extra};
    const uint8_t *packet = header_at + frame->mac, padding[4] = {0};
    uint64_t at = tape_copy(tape, tape->head, header, sizeof header);
    at = tape_copy(tape, at, packet, before);
    at = tape_copy(tape, at, tag, extra);
    at = tape_copy(tape, at, packet + before, frame->captured - before);
    at = tape_copy(tape, at, padding, total - 32 - captured);
    at = tape_copy(tape, at, &total, sizeof total);
    tape->put++;
    tape->packets_left--;
    tape->bytes_left -= total;
    __atomic_store_n(&tape->head, at, __ATOMIC_RELEASE);
}

EXPORT uint32_t quietcore_tape_size(void)
{
    return sizeof(struct tape);
}

/* Writes up to a megabyte of whole records. Returns its bytes, 0 where the tape is empty, -errno where it could not write all
 * of it: then the file may hold a part of these records, but the tape still counts all of them as unwritten. */
EXPORT int64_t quietcore_tape_pump(struct tape *tape, int fd)
{
    uint64_t head = __atomic_load_n(&tape->head, __ATOMIC_ACQUIRE), end = tape->tail, packets = 0;
    while (end < head) {
        uint32_t total = load32(tape->memory + ((end + 4) & (tape->capacity - 1))); /* a multiple of four: it does not wrap */
        if (packets && end + total - tape->tail > TAPE_PIECE)
            break;
        end += total;
        packets++;
    }
    for (uint64_t at = tape->tail; at < end;) {
        uint64_t offset = at & (tape->capacity - 1), first = tape->capacity - offset;
        if (first > end - at)
            first = end - at;
        struct iovec parts[] = {{tape->memory + offset, first}, {tape->memory, end - at - first}};
        ssize_t wrote = writev(fd, parts, 2);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return wrote ? -errno : -EIO;
        at += (uint64_t)wrote;
    }
    uint64_t size = end - tape->tail;
    tape->pumped += packets;
    __atomic_store_n(&tape->tail, end, __ATOMIC_RELEASE);
    return (int64_t)size;
}
