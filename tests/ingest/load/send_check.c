/* send.c under sanitizers, over a UDP socket of loopback: sizes, streams, rates, the end by count and by time. */
#include "send.c"

#include <arpa/inet.h>
#include <netinet/in.h>

int main(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof to;
    int fd = socket(AF_INET, SOCK_DGRAM, 0), sink = socket(AF_INET, SOCK_DGRAM, 0);
    struct sending load = {.fd = fd, .packets = 5000, .duration_ns = 60000000000u, .bytes_min = 62, .bytes_max = 1514,
                           .streams = 64, .first_port = 30001, .rate_per_s = 500000};
    /* nobody reads the sink: what does not fit into its buffer is dropped, and the sender does not hear of it */
    if (bind(sink, (struct sockaddr *)&to, sizeof to) || getsockname(sink, (struct sockaddr *)&to, &length) ||
        connect(fd, (struct sockaddr *)&to, sizeof to))
        return 1;
    if (quietcore_send_run(&load) || load.sent != 5000)
        return 2;
    load = (struct sending){.fd = fd, .packets = 1, .duration_ns = 1, .bytes_min = 61, .bytes_max = 61, .streams = 1};
    if (quietcore_send_run(&load) != EINVAL)
        return 3;
    load = (struct sending){.fd = fd, .packets = 1, .duration_ns = 1, .bytes_min = 62, .bytes_max = 1515, .streams = 1};
    if (quietcore_send_run(&load) != EINVAL)
        return 4;
    load = (struct sending){.fd = fd, .packets = UINT64_MAX, .duration_ns = 20000000, .rate_per_s = 10, .bytes_min = 62,
                            .bytes_max = 62, .streams = 1};
    return quietcore_send_run(&load) || load.sent ? 5 : 0;
}
