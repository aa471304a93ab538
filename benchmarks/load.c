/* A load generator that costs far less than any server: epoll, prebuilt frames, sockets that are connected already.
 *
 * Every message holds a marker "#12345678#": its number on its connection, or the number of the broadcast. What comes
 * back is searched for the next expected marker followed by the filler, so count, order and content are checked,
 * whatever envelope a server puts around it.
 *
 *   load echo      SECONDS BURST PREFIX SUFFIX FILLER FD...   each connection: BURST messages, wait for all, again
 *   load broadcast SECONDS ROUNDS PREFIX SUFFIX FILLER FD...  one message on the first, wait until all have it
 *   load http      SECONDS 1 REQUEST - - FD...                each connection: REQUEST, wait for a 200, again
 *
 * Prints one line of JSON. Exit status 1: something came wrong, or did not come.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ROOM (1 << 20)
#define SAMPLES 2000000

typedef struct {
    int fd;
    uint32_t next;    /* the marker that has to come next */
    uint32_t owed;    /* messages still to come of this burst */
    size_t kept;      /* bytes of an unfinished marker */
    char *tail;
    uint64_t began;
} Peer;

static const char *prefix, *suffix, *filler;
static size_t prefix_len, suffix_len, filler_len;
static uint64_t messages, *samples, sample_count;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *why, uint32_t want) {
    fprintf(stderr, "load: %s (expected marker %u after %llu messages)\n", why, want, (unsigned long long)messages);
    exit(1);
}

static void sample(uint64_t ns) {
    if (sample_count < SAMPLES) samples[sample_count++] = ns;
}

/* A masked text frame whose mask is zero: legal, and nothing to compute. */
static size_t frame(char *out, uint32_t number) {
    size_t size = prefix_len + 10 + filler_len + suffix_len, at = 0;
    out[at++] = (char)0x81;
    if (size < 126) out[at++] = (char)(0x80 | size);
    else { out[at++] = (char)(0x80 | 126); out[at++] = (char)(size >> 8); out[at++] = (char)size; }
    memset(out + at, 0, 4);
    at += 4;
    memcpy(out + at, prefix, prefix_len); at += prefix_len;
    at += (size_t)sprintf(out + at, "#%08u#", number);
    memcpy(out + at, filler, filler_len); at += filler_len;
    memcpy(out + at, suffix, suffix_len); at += suffix_len;
    return at;
}

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t done = send(fd, data, size, MSG_NOSIGNAL);
        if (done > 0) { data += done; size -= (size_t)done; }
        else if (done < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        else fail("the server closed a connection", 0);
    }
}

/* Finds complete messages in what has come; keeps an unfinished one. Returns how many were found. */
static uint32_t scan(Peer *peer, char *data, size_t size) {
    uint32_t found = 0;
    char *at = data, *end = data + size, want[16];
    while ((at = memchr(at, '#', (size_t)(end - at)))) {
        if ((size_t)(end - at) < 10 + filler_len) {
            peer->kept = (size_t)(end - at);
            memmove(peer->tail, at, peer->kept);
            return found;
        }
        sprintf(want, "#%08u#", peer->next);
        if (memcmp(at, want, 10)) fail("a message is lost, repeated or out of order", peer->next);
        if (memcmp(at + 10, filler, filler_len)) fail("a message is damaged", peer->next);
        peer->next++;
        found++;
        at += 10 + filler_len;
    }
    return found;
}

static uint32_t receive(Peer *peer, char *room) {
    memcpy(room, peer->tail, peer->kept);
    ssize_t got = recv(peer->fd, room + peer->kept, ROOM - peer->kept, MSG_DONTWAIT);
    if (got == 0) fail("the server closed a connection", peer->next);
    if (got < 0) { if (errno == EAGAIN) return 0; fail("a connection broke", peer->next); }
    size_t size = peer->kept + (size_t)got;
    peer->kept = 0;
    return scan(peer, room, size);
}

static void burst(Peer *peer, uint32_t count, char *room) {
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++) size += frame(room + size, peer->next + i);
    peer->owed = count;
    peer->began = now_ns();
    send_all(peer->fd, room, size);
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void report(double seconds) {
    qsort(samples, sample_count, sizeof *samples, by_size);
    #define AT(p) (sample_count ? (double)samples[(uint64_t)((double)(sample_count - 1) * (p))] / 1e3 : 0)
    printf("{\"messages\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
           (unsigned long long)messages, seconds, AT(.5), AT(.99), AT(.999));
}

int main(int argc, char **argv) {
    if (argc < 8) { fprintf(stderr, "load: see the head of load.c\n"); return 2; }
    int is_echo = !strcmp(argv[1], "echo"), is_http = !strcmp(argv[1], "http");
    double seconds = atof(argv[2]);
    uint32_t count = (uint32_t)atoi(argv[3]);
    prefix = argv[4]; suffix = argv[5]; filler = argv[6];
    prefix_len = strlen(prefix); suffix_len = strlen(suffix); filler_len = strlen(filler);
    int n = argc - 7;
    Peer *peers = calloc((size_t)n, sizeof *peers);
    char *room = malloc(ROOM + 65536);
    samples = malloc(SAMPLES * sizeof *samples);
    int ep = epoll_create1(0);
    for (int i = 0; i < n; i++) {
        peers[i].fd = atoi(argv[7 + i]);
        peers[i].tail = malloc(4096 + filler_len);
        fcntl(peers[i].fd, F_SETFL, fcntl(peers[i].fd, F_GETFL) | O_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(ep, EPOLL_CTL_ADD, peers[i].fd, &e);
    }
    struct epoll_event events[256];
    uint64_t start = now_ns(), end = start + (uint64_t)(seconds * 1e9), last = start;
    uint32_t rounds = 0, missing = 0;
    int over = 0;
    if (is_http) for (int i = 0; i < n; i++) { peers[i].began = now_ns(); send_all(peers[i].fd, prefix, prefix_len); }
    else if (is_echo) for (int i = 0; i < n; i++) burst(&peers[i], count, room);
    else { missing = (uint32_t)n; burst(&peers[0], 1, room); }
    int active = n;
    while (active) {
        int ready = epoll_wait(ep, events, 256, 5000);
        if (ready <= 0) fail("nothing came for 5 s", peers[0].next);
        uint64_t at = now_ns();
        over = at >= end;
        for (int i = 0; i < ready; i++) {
            Peer *peer = &peers[events[i].data.u32];
            if (is_http) {
                ssize_t got = recv(peer->fd, room, ROOM, MSG_DONTWAIT);
                if (got <= 0) fail("the server closed a connection", 0);
                if (memcmp(room, "HTTP/1.1 200", 12)) fail("an answer is not 200", 0);
                messages++;
                sample(at - peer->began);
                if (over) active--;
                else { peer->began = now_ns(); send_all(peer->fd, prefix, prefix_len); }
                last = at;
                continue;
            }
            uint32_t found = receive(peer, room);
            if (!found) continue;
            messages += found;
            last = at;
            if (is_echo) {
                if (found > peer->owed) fail("more came than was sent", peer->next);
                peer->owed -= found;
                if (peer->owed) continue;
                sample(at - peer->began);
                if (over) active--;
                else burst(peer, count, room);
            } else {
                if (found > 1) fail("a broadcast came twice", peer->next);
                if (--missing) continue;
                sample(at - peers[0].began);
                if (over || ++rounds == count) active = 0;
                else { missing = (uint32_t)n; burst(&peers[0], 1, room); }
                break;
            }
        }
    }
    report((double)(last - start) / 1e9);
    return 0;
}
