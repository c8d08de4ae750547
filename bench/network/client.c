// A client for servers under test: client PORT CONNECTIONS SECONDS REQUEST ANSWER
//
// ANSWER is a number of bytes: each connection sends the request, waits for so many, and sends it again; or `close`: it connects, waits for
// the server's close, and connects again; `read`: it reads; `write`: it writes; `idle`: it does nothing.
// Prints answers, connections or bytes a second, and the median and the 99th percentile of the time to an answer in microseconds.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TIMES_MAX (1 << 24)

enum mode { ANSWERS, CLOSES, READS, WRITES, IDLES };

struct connection {
    int fd;
    size_t missing;
    uint64_t sent_ns;
};

static struct sockaddr_in server;
static uint32_t times[TIMES_MAX];
static char buffer[1 << 18];
static enum mode mode = ANSWERS;

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int order(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void open_connection(struct connection *connection, int epoll) {
    int on = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connection->fd < 0) fail("socket");
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->sent_ns = now_ns();
    if (connect(connection->fd, (struct sockaddr *)&server, sizeof server) < 0) fail("connect");
    struct epoll_event event = {.events = mode == WRITES ? EPOLLOUT : EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, connection->fd, &event) < 0) fail("epoll_ctl");
}

static void send_request(struct connection *connection, const char *request, size_t answer_bytes) {
    size_t bytes = strlen(request);
    connection->missing = answer_bytes;
    connection->sent_ns = now_ns();
    if (send(connection->fd, request, bytes, MSG_NOSIGNAL) != (ssize_t)bytes) fail("send");
}

// What a connection reads or writes when it can; how many bytes.
static size_t transfer(struct connection *connection) {
    ssize_t got = mode == WRITES ? send(connection->fd, buffer, 1 << 16, MSG_NOSIGNAL | MSG_DONTWAIT)
                                 : recv(connection->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno != EAGAIN) fail("transfer");
    if (got == 0 && mode != CLOSES) exit((fputs("the server has closed a connection\n", stderr), 1));
    return got < 0 ? 0 : (size_t)got;
}

int main(int argc, char **argv) {
    static const char *modes[] = {[CLOSES] = "close", [READS] = "read", [WRITES] = "write", [IDLES] = "idle"};
    if (argc != 6) return fputs("client PORT CONNECTIONS SECONDS REQUEST ANSWER\n", stderr), 2;
    size_t count = strtoul(argv[2], NULL, 10), answer_bytes = strtoul(argv[5], NULL, 10);
    double seconds = strtod(argv[3], NULL);
    for (enum mode other = CLOSES; other <= IDLES; other++)
        if (strcmp(argv[5], modes[other]) == 0) mode = other;
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct connection *all = calloc(count, sizeof *all);
    int epoll = epoll_create1(0);
    if (all == NULL || epoll < 0) fail("epoll");
    for (size_t at = 0; at < count; at++) open_connection(&all[at], epoll);
    uint64_t began = now_ns(), end = began + (uint64_t)(seconds * 1e9), bytes = 0, answers = 0;
    for (size_t at = 0; mode == ANSWERS && at < count; at++) send_request(&all[at], argv[4], answer_bytes);
    while (now_ns() < end) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 100);
        if (ready < 0 && errno != EINTR) fail("epoll_wait");
        for (int at = 0; at < ready; at++) {
            struct connection *connection = events[at].data.ptr;
            size_t got = transfer(connection);
            bytes += got;
            if (mode == ANSWERS) {
                if (got > connection->missing) return fputs("an answer is longer than it should be\n", stderr), 1;
                connection->missing -= got;
                if (connection->missing > 0) continue;
            } else if (mode != CLOSES || got > 0) {
                continue;
            }
            if (answers < TIMES_MAX) times[answers] = (uint32_t)((now_ns() - connection->sent_ns) / 1000);
            answers++;
            if (mode == ANSWERS) {
                send_request(connection, argv[4], answer_bytes);
            } else {
                close(connection->fd);
                open_connection(connection, epoll);
            }
        }
    }
    double took = (double)(now_ns() - began) / 1e9;
    size_t kept = answers < TIMES_MAX ? answers : TIMES_MAX;
    qsort(times, kept, sizeof *times, order);
    double rate = (double)(answers > 0 ? answers : bytes) / took;
    printf("%.0f %u %u\n", rate, kept > 0 ? times[kept / 2] : 0, kept > 0 ? times[kept * 99 / 100] : 0);
    return 0;
}
