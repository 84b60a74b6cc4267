/* The TPACKET_V3 loop as it is usually written (Documentation/networking/packet_mmap.rst), doing the same work per packet as
 * our walker: chain, headers, stream, sequence and count, gaps, latency, histogram. It trusts its input and prefetches nothing:
 * this is what the walker is measured against. */
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

enum { BUCKETS = 592, STREAMS = 64 };

struct textbook_stream {
    uint32_t address;
    uint16_t port, used;
    uint64_t expected, received, lost, duplicate;
};

struct textbook {
    uint64_t packets, bytes, max_ns, buckets[BUCKETS];
    struct textbook_stream streams[STREAMS];
};

static struct textbook_stream *stream_of(struct textbook *state, uint32_t address, uint16_t port)
{
    for (unsigned at = (address ^ port) * 2654435761u >> 26;; at = (at + 1) % STREAMS) {
        struct textbook_stream *stream = &state->streams[at];
        if (!stream->used) {
            stream->address = address, stream->port = port, stream->used = 1;
            return stream;
        }
        if (stream->address == address && stream->port == port)
            return stream;
    }
}

static void count(struct textbook *state, uint64_t stamp, uint32_t length, uint16_t ethertype, const struct iphdr *ip, uint64_t now)
{
    uint64_t latency = now - stamp;
    unsigned power = latency ? 63u - (unsigned)__builtin_clzll(latency) : 0;
    unsigned bucket = latency < 16 ? (unsigned)latency : (power - 3) * 16 + (unsigned)(latency >> (power - 4) & 15);
    state->packets++;
    state->bytes += length;
    state->buckets[bucket < BUCKETS ? bucket : BUCKETS - 1]++;
    if (latency > state->max_ns)
        state->max_ns = latency;
    if (ethertype != htons(0x0800) || ip->protocol != IPPROTO_UDP)
        return;
    const struct udphdr *udp = (const void *)((const uint8_t *)ip + ip->ihl * 4);
    const uint8_t *payload = (const uint8_t *)(udp + 1);
    uint64_t sequence;
    uint16_t messages;
    memcpy(&sequence, payload + 10, 8);
    memcpy(&messages, payload + 18, 2);
    sequence = __builtin_bswap64(sequence), messages = ntohs(messages);
    struct textbook_stream *stream = stream_of(state, ip->daddr, udp->dest);
    if (!stream->expected)
        stream->expected = sequence;
    if (sequence < stream->expected) {
        stream->duplicate += messages;
    } else {
        stream->lost += sequence - stream->expected;
        stream->received += messages;
        stream->expected = sequence + messages;
    }
}

static void account(struct textbook *state, const struct tpacket3_hdr *header, uint64_t now)
{
    const struct sockaddr_ll *link = (const void *)((const uint8_t *)header + TPACKET_ALIGN(sizeof *header));
    const struct iphdr *ip = (const void *)((const uint8_t *)header + header->tp_net);
    uint64_t stamp = (uint64_t)header->tp_sec * 1000000000u + header->tp_nsec;
    count(state, stamp, header->tp_len, link->sll_protocol, ip, now);
}

uint64_t textbook_walk(struct textbook *state, uint8_t *memory, uint32_t blocks, uint32_t block_bytes, uint64_t fixed_now)
{
    uint64_t before = state->packets;
    for (uint32_t i = 0; i < blocks; i++) {
        struct tpacket_block_desc *block = (void *)(memory + (size_t)i * block_bytes);
        if (!(__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            break;
        struct tpacket3_hdr *header = (void *)((uint8_t *)block + block->hdr.bh1.offset_to_first_pkt);
        for (uint32_t left = block->hdr.bh1.num_pkts; left; left--) {
            account(state, header, fixed_now);
            header = (void *)((uint8_t *)header + header->tp_next_offset);
        }
        __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
    return state->packets - before;
}

uint32_t textbook_size(void)
{
    return sizeof(struct textbook);
}

/* Hands all blocks to the user again; touches one line of each. */
void textbook_rearm(uint8_t *memory, uint32_t blocks, uint32_t block_bytes)
{
    for (uint32_t i = 0; i < blocks; i++)
        ((struct tpacket_block_desc *)(void *)(memory + (size_t)i * block_bytes))->hdr.bh1.block_status = TP_STATUS_USER;
}

/* Moves every sequence number on, so that the same packets can follow themselves without a gap. */
void textbook_advance(uint8_t *memory, uint32_t blocks, uint32_t block_bytes, uint64_t by)
{
    for (uint32_t i = 0; i < blocks; i++) {
        struct tpacket_block_desc *block = (void *)(memory + (size_t)i * block_bytes);
        uint8_t *header = (uint8_t *)block + block->hdr.bh1.offset_to_first_pkt;
        for (uint32_t left = block->hdr.bh1.num_pkts; left; left--) {
            uint64_t sequence;
            memcpy(&sequence, header + 96 + 28 + 10, 8);
            sequence = __builtin_bswap64(__builtin_bswap64(sequence) + by);
            memcpy(header + 96 + 28 + 10, &sequence, 8);
            header += ((struct tpacket3_hdr *)(void *)header)->tp_next_offset;
        }
    }
}

/* Every byte of the image, eight at a time and from the front: what the memory gives when one only asks for it. */
uint64_t textbook_read(const uint8_t *memory, uint64_t bytes)
{
    uint64_t sums[4] = {0};
    for (const uint64_t *at = (const void *)memory, *end = at + bytes / 8; at < end; at += 4)
        for (int i = 0; i < 4; i++)
            sums[i] += at[i];
    return sums[0] ^ sums[1] ^ sums[2] ^ sums[3];
}

/* Blocks as the kernel fills them: MoldUDP64 datagrams of 100 to 200 bytes, a gap now and then, stamped before now. */
uint64_t textbook_fill(uint8_t *memory, uint32_t blocks, uint32_t block_bytes, uint64_t now, uint32_t streams, uint32_t port)
{
    uint64_t packets = 0, state = 88172645463325252u, sequences[STREAMS] = {0};
    for (uint32_t i = 0; i < blocks; i++) {
        struct tpacket_block_desc *block = (void *)(memory + (size_t)i * block_bytes);
        struct tpacket3_hdr *last = NULL;
        uint32_t at = 48, count = 0;
        for (;;) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            uint32_t length = 100 + (uint32_t)(state >> 33) % 101, stride = (82 + length + 7) & ~7u;
            if (at + stride > block_bytes)
                break;
            struct tpacket3_hdr *header = (void *)((uint8_t *)block + at);
            uint32_t stream = (uint32_t)(state >> 20) % streams;
            uint64_t stamp = now - (state >> 12) % 1000000, sequence = __builtin_bswap64(sequences[stream] += 1 + !(state % 997));
            *header = (struct tpacket3_hdr){.tp_next_offset = stride, .tp_sec = (uint32_t)(stamp / 1000000000u),
                .tp_nsec = (uint32_t)(stamp % 1000000000u), .tp_snaplen = length, .tp_len = length, .tp_status = TP_STATUS_USER,
                .tp_mac = 82, .tp_net = 96};
            *(struct sockaddr_ll *)(void *)((uint8_t *)header + TPACKET_ALIGN(sizeof *header)) =
                (struct sockaddr_ll){.sll_family = 17, .sll_protocol = htons(0x0800), .sll_hatype = 1, .sll_halen = 6};
            memcpy((uint8_t *)header + 94, "\10\0", 2);
            struct iphdr *ip = (void *)((uint8_t *)header + 96);
            *ip = (struct iphdr){.ihl = 5, .version = 4, .tot_len = htons((uint16_t)(length - 14)), .frag_off = htons(0x4000),
                .ttl = 1, .protocol = IPPROTO_UDP, .daddr = htonl(0xef010101)};
            struct udphdr *udp = (void *)(ip + 1);
            *udp = (struct udphdr){.dest = htons((uint16_t)(port + stream)), .len = htons((uint16_t)(length - 34))};
            memcpy((uint8_t *)(udp + 1) + 10, &sequence, 8);
            memcpy((uint8_t *)(udp + 1) + 18, "\0\1", 2);
            last = header, at += stride, count++;
        }
        if (last)
            last->tp_next_offset = 0;
        block->version = 1, block->hdr.bh1.num_pkts = count, block->hdr.bh1.offset_to_first_pkt = 48;
        block->hdr.bh1.blk_len = at, packets += count;
    }
    return packets;
}

/* ---- our walker called from C, without an interpreter in between ------------------------------------------------------- */

struct part {
    void *live;
    const void *fresh; /* NULL: zeros */
    uint64_t bytes;
};

static uint64_t thread_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* Drains the image so many times, each time from nothing. Returns the nanoseconds of draining alone. */
uint64_t textbook_drain(uint64_t (*drain)(void *, void *), void *ring, void *sequences, const struct part *parts, uint32_t count,
    uint8_t *memory, uint32_t blocks, uint32_t block_bytes, uint32_t passes)
{
    uint64_t spent = 0;
    while (passes--) {
        for (uint32_t i = 0; i < count; i++)
            if (parts[i].fresh)
                memcpy(parts[i].live, parts[i].fresh, parts[i].bytes);
            else
                memset(parts[i].live, 0, parts[i].bytes);
        textbook_rearm(memory, blocks, block_bytes);
        uint64_t before = thread_ns();
        drain(ring, sequences);
        spent += thread_ns() - before;
    }
    return spent;
}

/* ---- the same work behind libpcap -------------------------------------------------------------------------------------- */

struct behind_pcap {
    struct textbook *state;
    uint64_t now, fixed_now;
};

struct pcap_header { /* struct pcap_pkthdr; the microseconds are nanoseconds where these were asked for */
    struct timespec stamp;
    uint32_t captured, length;
};

typedef void (*pcap_callback)(uint8_t *, const struct pcap_header *, const uint8_t *);

static void from_pcap(uint8_t *user, const struct pcap_header *header, const uint8_t *packet)
{
    struct behind_pcap *behind = (void *)user;
    uint16_t ethertype;
    memcpy(&ethertype, packet + 12, 2);
    uint64_t stamp = (uint64_t)header->stamp.tv_sec * 1000000000u + (uint64_t)header->stamp.tv_nsec;
    count(behind->state, stamp, header->length, ethertype, (const void *)(packet + 14), behind->now);
}

/* Dispatches until so many packets were counted, or until libpcap has no more or gives up. The clock is read once for each
 * dispatch, as our walker reads it once for each block. Returns what pcap_dispatch said last. */
int textbook_dispatch(int (*dispatch)(void *, int, pcap_callback, uint8_t *), void *pcap, struct behind_pcap *behind, uint64_t packets)
{
    int found = 1;
    while (found >= 0 && behind->state->packets < packets) {
        struct timespec time;
        clock_gettime(CLOCK_REALTIME, &time);
        behind->now = behind->fixed_now ? behind->fixed_now : (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
        found = dispatch(pcap, -1, from_pcap, (void *)behind);
        if (!found && behind->fixed_now)
            break;
    }
    return found;
}
