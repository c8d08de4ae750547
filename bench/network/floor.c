// The least that a server of a row can do: floor active|http|close. Prints the port.
//
// Each of two threads waits for its connections with epoll, reads and answers, and does nothing else: what remains is the system's share.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char hello[] = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nContent-Type: text/plain\r\n\r\nhello, world\n";
static char kind; // its first letter
static int listener;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void *serve(void *nothing) {
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.fd = listener};
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0) fail("epoll");
    for (;;) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int at = 0; at < ready; at++) {
            int fd = events[at].data.fd;
            if (fd == listener) {
                int on = 1;
                fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                if (kind == 'c') {
                    close(fd);
                    continue;
                }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                event = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
                if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
                continue;
            }
            char buffer[2048];
            ssize_t got = recv(fd, buffer, sizeof buffer, 0);
            if (got <= 0) {
                close(fd);
            } else if (kind == 'a') {
                if (send(fd, buffer, (size_t)got, MSG_NOSIGNAL) < 0) close(fd);
            } else if (got >= 4 && memcmp(buffer + got - 4, "\r\n\r\n", 4) == 0) {
                if (send(fd, hello, sizeof hello - 1, MSG_NOSIGNAL) < 0) close(fd);
            }
        }
    }
    return nothing;
}

int main(int argc, char **argv) {
    if (argc != 2) return fputs("floor active|http|close\n", stderr), 2;
    kind = argv[1][0];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) < 0 || listen(listener, 1024) < 0) fail("listen");
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) fail("getsockname");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, NULL) != 0) fail("pthread_create");
    serve(NULL);
    return 0;
}
