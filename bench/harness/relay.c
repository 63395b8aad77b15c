/* The least that three replicas must do: no broker, but the limit that three nodes are measured against.
 *
 *     relay FOLDER CLIENT_PORT REPLICA_PORT PEER_REPLICA_PORT...
 *
 * Whole requests of a client are sent to each peer as they came and appended to a file, all that are there by one call each; they
 * are answered when every peer says that it has appended them to a file of its own. There are no checksums, no offsets and no
 * second thought. It understands Produce, version 8, of one partition, and nothing else. Ready when it prints so.
 */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS_MAX = 4, HELD_BYTES = 16 << 20, REQUEST_BYTES_MAX = 8 << 20, WAITING_MAX = 1024, ANSWER_BYTES_MAX = 512 };

static const char *folder;
static int peer_ports[PEERS_MAX], peers;

static void check(int good, const char *what) {
    if (!good) {
        fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static uint16_t be16_at(const char *at) { uint16_t v; memcpy(&v, at, 2); return be16toh(v); }
static uint32_t be32_at(const char *at) { uint32_t v; memcpy(&v, at, 4); return be32toh(v); }
static char *put16(char *at, uint16_t v) { v = htobe16(v); memcpy(at, &v, 2); return at + 2; }
static char *put32(char *at, uint32_t v) { v = htobe32(v); memcpy(at, &v, 4); return at + 4; }
static char *put64(char *at, uint64_t v) { v = htobe64(v); memcpy(at, &v, 8); return at + 8; }

static void send_all(int to, const char *from, size_t size) {
    while (size > 0) {
        ssize_t sent = send(to, from, size, MSG_NOSIGNAL);
        check(sent > 0, "send");
        from += sent;
        size -= sent;
    }
}

static void append(int file, const char *from, size_t size) {
    while (size > 0) {
        ssize_t written = write(file, from, size);
        check(written > 0, "write");
        from += written;
        size -= written;
    }
}

static int new_file(void) {
    static int count;
    char path[4096];
    snprintf(path, sizeof path, "%s/%d.log", folder, __sync_add_and_fetch(&count, 1));
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0644);
    check(file >= 0, path);
    return file;
}

static int listener(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int made = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    check(bind(made, (struct sockaddr *)&at, sizeof at) == 0 && listen(made, 128) == 0, "listen");
    return made;
}

static void without_delay(int stream) {
    int on = 1;
    setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int connect_to(int port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int made = socket(AF_INET, SOCK_STREAM, 0);
    check(connect(made, (struct sockaddr *)&at, sizeof at) == 0, "connect");
    without_delay(made);
    return made;
}

/* Bytes of a connection that came and were not dealt with. */
struct held { char *bytes; size_t size; };

/* Reads what is there; whether the connection goes on. */
static int take(int from, struct held *held) {
    ssize_t got = recv(from, held->bytes + held->size, HELD_BYTES - held->size, 0);
    if (got <= 0) return 0;
    held->size += got;
    return 1;
}

/* How many bytes the first request has, with its length; 0 if it is not whole. */
static size_t whole(const char *at, size_t size) {
    if (size < 4) return 0;
    size_t length = be32_at(at);
    check(length <= REQUEST_BYTES_MAX, "a request is too long");
    return size >= 4 + length ? 4 + length : 0;
}

static void *follow(void *argument) {
    int stream = (int)(intptr_t)argument, file = new_file();
    struct held held = {malloc(HELD_BYTES), 0};
    while (take(stream, &held)) {
        size_t end = 0, next;
        uint32_t count = 0;
        while ((next = whole(held.bytes + end, held.size - end)) > 0) end += next, count++;
        if (count == 0) continue;
        append(file, held.bytes, end);
        memmove(held.bytes, held.bytes + end, held.size -= end);
        send_all(stream, (char *)&count, sizeof count);
    }
    close(file), close(stream), free(held.bytes);
    return NULL;
}

/* The answer to one request: its bytes. */
static size_t answer_to(const char *request, uint64_t base, char *answer) {
    const char *at = request + 4 + 4, *topic;
    check(be16_at(request + 4) == 0 && be16_at(request + 6) == 8, "only Produce, version 8, is served");
    uint32_t correlation = be32_at(at);
    at += 4;
    at += 2 + be16_at(at);
    uint16_t size = be16_at(at);
    at += 2 + (size == 0xffff ? 0 : size) + 2 + 4 + 4;
    topic = at;
    size = be16_at(topic);
    check(size <= 249, "a topic's name is too long");
    at += 2 + size + 4;
    char *out = put32(put32(answer + 4, correlation), 1);
    memcpy(out, topic, 2 + size);
    /* One partition without an error: its offset, no time, the log's start; no refused records, no message, no throttling. */
    out = put16(put32(put32(out + 2 + size, 1), be32_at(at)), 0);
    out = put32(put16(put32(put64(put64(put64(out, base), -1), 0), 0), -1), 0);
    put32(answer, out - answer - 4);
    return out - answer;
}

/* Requests that were sent on, and the answers that they get. */
struct waiting { char bytes[ANSWER_BYTES_MAX]; size_t size; };

static void *lead(void *argument) {
    int stream = (int)(intptr_t)argument, file = new_file();
    struct held held = {malloc(HELD_BYTES), 0};
    struct waiting *waiting = malloc(sizeof(struct waiting) * WAITING_MAX);
    struct pollfd all[1 + PEERS_MAX] = {{stream, POLLIN, 0}};
    uint64_t taken = 0, answered = 0, replicated[PEERS_MAX] = {0};
    for (int at = 0; at < peers; at++) all[1 + at] = (struct pollfd){connect_to(peer_ports[at]), POLLIN, 0};
    for (;;) {
        check(poll(all, 1 + peers, -1) > 0, "poll");
        if (all[0].revents) {
            if (!take(stream, &held)) break;
            size_t end = 0, next;
            while ((next = whole(held.bytes + end, held.size - end)) > 0) {
                check(taken - answered < WAITING_MAX, "too many requests wait");
                struct waiting *one = &waiting[taken % WAITING_MAX];
                one->size = answer_to(held.bytes + end, taken++, one->bytes);
                end += next;
            }
            for (int at = 0; at < peers && end > 0; at++) send_all(all[1 + at].fd, held.bytes, end);
            append(file, held.bytes, end);
            memmove(held.bytes, held.bytes + end, held.size -= end);
        }
        uint64_t least = taken;
        for (int at = 0; at < peers; at++) {
            uint32_t count;
            if (all[1 + at].revents) {
                check(recv(all[1 + at].fd, &count, sizeof count, MSG_WAITALL) == sizeof count, "a peer");
                replicated[at] += count;
            }
            if (replicated[at] < least) least = replicated[at];
        }
        for (; answered < least; answered++) send_all(stream, waiting[answered % WAITING_MAX].bytes, waiting[answered % WAITING_MAX].size);
    }
    for (int at = 0; at <= peers; at++) close(all[at].fd);
    close(file), free(held.bytes), free(waiting);
    return NULL;
}

struct served { int listener; void *(*with)(void *); };

static void *serve(void *argument) {
    struct served *served = argument;
    for (;;) {
        pthread_t thread;
        int stream = accept(served->listener, NULL, NULL);
        check(stream >= 0, "accept");
        without_delay(stream);
        check(pthread_create(&thread, NULL, served->with, (void *)(intptr_t)stream) == 0, "thread");
        pthread_detach(thread);
    }
    return NULL;
}

int main(int count, char **words) {
    check(count >= 4 && count - 4 <= PEERS_MAX, "usage: relay FOLDER CLIENT_PORT REPLICA_PORT PEER_REPLICA_PORT...");
    folder = words[1];
    for (int at = 4; at < count; at++) peer_ports[peers++] = atoi(words[at]);
    struct served clients = {listener(atoi(words[2])), lead}, replicas = {listener(atoi(words[3])), follow};
    pthread_t thread;
    check(pthread_create(&thread, NULL, serve, &replicas) == 0, "thread");
    puts("ready");
    fflush(stdout);
    serve(&clients);
}
