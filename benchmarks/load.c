/* A load generator that costs far less than any server: epoll, prebuilt messages, sockets that are connected already.
 *
 * Every message holds a marker "#12345678#", its number in its group, followed by a filler. What comes back is searched
 * for the next expected marker and the filler, so count, order and content are checked, whatever envelope a server
 * puts around it.
 *
 *   load ws SECONDS BURST SIZE WINDOW ROUNDS PREFIX SUFFIX FILLER FD...
 *       SIZE sockets in a row are a group, and what its first one sends comes to all of it. WINDOW groups are busy at
 *       a time: BURST messages each, wait until all members have them, then another group, drawn by lot. It ends after
 *       SECONDS or ROUNDS turns (0: no limit). SIZE 1 is an echo, SIZE = all of them a broadcast.
 *   load http SECONDS FILLER FD...
 *       Each socket sends its request, waits for a whole 200, and sends it again.
 *   load poll SECONDS FILLER FD FD...
 *       Pairs of sockets: a poll is held on the first, a message is sent on the second and comes back as the answer of
 *       the poll. Counts requests: two per message.
 *
 * For http and poll each socket's request comes on stdin, ended by a NUL; in it "{NNNNNN}" stands for the number, and
 * "{C}" for the cursor that the answer before had in `"C":"..."`; the first one stands behind the request: "\n{C}=...".
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
#define TAIL 65536
#define CURSOR 200

typedef struct {
    int fd;
    uint32_t next;          /* the number that has to come next */
    size_t kept;            /* bytes of something unfinished */
    char *tail;
    char *request;          /* http and poll */
    char cursor[CURSOR];
    uint64_t began;
} Peer;

typedef struct {
    uint32_t sent;          /* the last number that was sent */
    uint32_t owed;          /* messages still to come, of all members */
    uint64_t began;
} Group;

static const char *prefix, *suffix, *filler;
static size_t prefix_len, suffix_len, filler_len;
static uint64_t messages, *samples, sample_count;
static char *room;
static int ep, n;
static Peer *peers;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *why, uint32_t want) {
    fprintf(stderr, "load: %s (expected number %u, after %llu messages)\n", why, want, (unsigned long long)messages);
    exit(1);
}

static void sample(uint64_t ns) {
    if (sample_count < SAMPLES) samples[sample_count++] = ns;
}

static void send_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t done = send(fd, data, size, MSG_NOSIGNAL);
        if (done > 0) { data += done; size -= (size_t)done; }
        else if (done < 0 && (errno == EAGAIN || errno == EINTR)) continue;
        else fail("the server closed a connection", 0);
    }
}

/* What was kept and what has come, in `room`, with a NUL behind it. 0: nothing has come. */
static size_t receive(Peer *peer) {
    memcpy(room, peer->tail, peer->kept);
    ssize_t got = recv(peer->fd, room + peer->kept, ROOM - peer->kept, MSG_DONTWAIT);
    if (got == 0) fail("the server closed a connection", peer->next);
    if (got < 0) { if (errno == EAGAIN) return 0; fail("a connection broke", peer->next); }
    size_t size = peer->kept + (size_t)got;
    peer->kept = 0;
    room[size] = 0;
    return size;
}

static void keep(Peer *peer, const char *data, size_t size) {
    if (size > TAIL) fail("an unfinished message is too long", peer->next);
    memmove(peer->tail, data, peer->kept = size);
}

/* Finds complete messages in what has come; keeps an unfinished one. Returns how many were found. */
static uint32_t scan(Peer *peer, char *at, char *end) {
    uint32_t found = 0;
    char want[16];
    while ((at = memchr(at, '#', (size_t)(end - at)))) {
        if ((size_t)(end - at) < 10 + filler_len) { keep(peer, at, (size_t)(end - at)); return found; }
        if (strspn(at + 1, "0123456789") != 8 || at[9] != '#') { at++; continue; }   /* chance: a ping's payload */
        sprintf(want, "#%08u#", peer->next);
        if (memcmp(at, want, 10)) fail("a message is lost, repeated or out of order", peer->next);
        if (memcmp(at + 10, filler, filler_len)) fail("a message is damaged", peer->next);
        peer->next++;
        found++;
        at += 10 + filler_len;
    }
    return found;
}

static int wait_for(struct epoll_event *events) {
    int ready = epoll_wait(ep, events, 256, 5000);
    if (ready <= 0) fail("nothing came for 5 s", peers[0].next);
    return ready;
}

/* WebSockets ------------------------------------------------------------------------------------------------------ */

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

static void begin(Group *group, Peer *first, uint32_t burst, uint32_t size) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < burst; i++) bytes += frame(room + bytes, ++group->sent);
    group->owed = burst * size;
    group->began = now_ns();
    send_all(first->fd, room, bytes);
}

static uint64_t websockets(uint64_t end, uint32_t burst, uint32_t size, uint32_t window, uint64_t rounds) {
    uint32_t count = (uint32_t)n / size, random = 1, active, idle_count = 0;
    Group *groups = calloc(count, sizeof *groups);
    uint32_t *idle = malloc(count * sizeof *idle);
    if (window > count) window = count;
    for (uint32_t g = 0; g < count; g++)
        if (g < window) begin(&groups[g], &peers[g * size], burst, size);
        else idle[idle_count++] = g;
    uint64_t last = 0, turns = active = window;
    struct epoll_event events[256];
    while (active) {
        int ready = wait_for(events);
        last = now_ns();
        for (int i = 0; i < ready; i++) {
            Peer *peer = &peers[events[i].data.u32];
            uint32_t g = events[i].data.u32 / size;
            Group *group = &groups[g];
            size_t got = receive(peer);
            uint32_t found = got ? scan(peer, room, room + got) : 0;
            if (!found) continue;
            if (peer->next > group->sent + 1 || found > group->owed) fail("more came than was sent", peer->next);
            messages += found;
            if (group->owed -= found) continue;
            sample(last - group->began);
            active--;
            if (last >= end || (rounds && turns >= rounds)) continue;
            if (idle_count) {
                random = random * 1664525u + 1013904223u;
                uint32_t at = (uint32_t)(((uint64_t)random * idle_count) >> 32), drawn = idle[at];
                idle[at] = g;
                g = drawn;
            }
            begin(&groups[g], &peers[g * size], burst, size);
            turns++;
            active++;
        }
    }
    return last;
}

/* HTTP ------------------------------------------------------------------------------------------------------------ */

static void ask(Peer *peer, uint32_t number) {
    char *request = peer->request, *place = strstr(request, "{NNNNNN}"), *cursor = strstr(request, "{C}");
    size_t size = strlen(request), at = 0;
    if (cursor) {
        at = (size_t)(cursor - request);
        memcpy(room, request, at);
        at += (size_t)sprintf(room + at, "%s%s", peer->cursor, cursor + 3);
    } else memcpy(room, request, at = size);
    if (place) {
        char digits[16];
        sprintf(digits, "%08u", number);
        memcpy(room + (place - request), digits, 8);
    }
    peer->began = now_ns();
    send_all(peer->fd, room, at);
}

/* The body of a whole answer, or NULL: not all of it is here. */
static char *answer(Peer *peer, size_t *size) {
    size_t got = receive(peer);
    if (!got) return NULL;
    char *body = strstr(room, "\r\n\r\n");
    if (body) {
        char *length = strcasestr(room, "\r\ncontent-length:");
        if (memcmp(room, "HTTP/1.1 200", 12)) fail("an answer is not 200", peer->next);
        int whole = !length || length > body;
        body += 4;
        if (whole) {   /* then it is chunked: it is all here when the last chunk is, which is empty */
            if (!strcasestr(room, "\r\ntransfer-encoding: chunked")) fail("an answer without a length", peer->next);
            if (memcmp(room + got - 5, "0\r\n\r\n", 5)) { keep(peer, room, got); return NULL; }
            *size = (size_t)(room + got - body);
            return body;
        }
        *size = (size_t)atol(length + 17);
        if ((size_t)(room + got - body) > *size) fail("more came than was asked for", peer->next);
        if ((size_t)(room + got - body) == *size) return body;
    }
    keep(peer, room, got);
    return NULL;
}

static uint64_t requests(uint64_t end) {
    uint64_t last = 0;
    struct epoll_event events[256];
    for (int i = 0; i < n; i++) ask(&peers[i], peers[i].next++);
    for (int active = n; active;) {
        int ready = wait_for(events);
        last = now_ns();
        for (int i = 0; i < ready; i++) {
            Peer *peer = &peers[events[i].data.u32];
            size_t size;
            if (!answer(peer, &size)) continue;
            messages++;
            sample(last - peer->began);
            if (last >= end) active--;
            else ask(peer, peer->next++);
        }
    }
    return last;
}

/* A poll's answer carries the message, and the cursor of the next poll. */
static void polled(Peer *poll, char *body, size_t size) {
    char *cursor = memmem(body, size, "\"C\":\"", 5);
    if (cursor) {
        size_t length = strcspn(cursor += 5, "\"");
        if (length >= CURSOR) fail("a cursor is too long", poll->next);
        memcpy(poll->cursor, cursor, length);
        poll->cursor[length] = 0;
    }
    if (scan(poll, body, body + size) != 1 || poll->kept) fail("a poll's answer has not just one message", poll->next);
    messages++;
}

static uint64_t polls(uint64_t end) {
    uint64_t last = 0;
    int active = n / 2;
    char *missing = malloc((size_t)active);   /* answers of this turn: 1 poll, 2 send */
    memset(missing, 3, (size_t)active);
    struct epoll_event events[256];
    for (int i = 0; i < n; i += 2) ask(&peers[i], 0);
    for (int i = 0; i < n; i += 2) ask(&peers[i + 1], peers[i].next);
    while (active) {
        int ready = wait_for(events);
        last = now_ns();
        for (int i = 0; i < ready; i++) {
            uint32_t at = events[i].data.u32, pair = at / 2;
            Peer *poll = &peers[pair * 2], *sender = poll + 1;
            size_t size;
            char *body = answer(&peers[at], &size);
            if (!body) continue;
            if (at % 2) { missing[pair] &= ~2; messages++; }
            else { missing[pair] &= ~1; polled(poll, body, size); }
            if (missing[pair]) continue;
            sample(last - sender->began);
            if (last >= end) { active--; continue; }
            missing[pair] = 3;
            ask(poll, 0);
            ask(sender, poll->next);
        }
    }
    return last;
}

/* ----------------------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static double percentile(double p) {
    return sample_count ? (double)samples[(uint64_t)((double)(sample_count - 1) * p)] / 1e3 : 0;
}

static void read_requests(void) {
    for (int i = 0; i < n; i++) {
        size_t reserved = 0;
        ssize_t got = getdelim(&peers[i].request, &reserved, 0, stdin);
        if (got <= 0 || got > ROOM / 2) fail("a socket without a request", 0);
        char *first = strstr(peers[i].request, "\n{C}=");   /* the first cursor stands behind the request */
        if (first) {
            snprintf(peers[i].cursor, CURSOR, "%s", first + 5);
            *first = 0;
        }
    }
}

int main(int argc, char **argv) {
    int ws = argc > 10 && !strcmp(argv[1], "ws"), http = argc > 4 && !strcmp(argv[1], "http");
    if (!ws && !http && !(argc > 5 && !strcmp(argv[1], "poll"))) { fprintf(stderr, "load: see load.c\n"); return 2; }
    prefix = ws ? argv[7] : ""; suffix = ws ? argv[8] : ""; filler = ws ? argv[9] : argv[3];
    prefix_len = strlen(prefix); suffix_len = strlen(suffix); filler_len = strlen(filler);
    char **fds = argv + (ws ? 10 : 4);
    n = argc - (int)(fds - argv);
    peers = calloc((size_t)n, sizeof *peers);
    room = malloc(2 * ROOM);
    samples = malloc(SAMPLES * sizeof *samples);
    ep = epoll_create1(0);
    for (int i = 0; i < n; i++) {
        peers[i].fd = atoi(fds[i]);
        peers[i].next = 1;
        peers[i].tail = malloc(TAIL);
        fcntl(peers[i].fd, F_SETFL, fcntl(peers[i].fd, F_GETFL) | O_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(ep, EPOLL_CTL_ADD, peers[i].fd, &e);
    }
    if (!ws) read_requests();
    #define NUMBER(i) (uint32_t)atoi(argv[i])
    uint64_t start = now_ns(), end = start + (uint64_t)(atof(argv[2]) * 1e9), last;
    if (ws) last = websockets(end, NUMBER(3), NUMBER(4), NUMBER(5), NUMBER(6));
    else last = http ? requests(end) : polls(end);
    qsort(samples, sample_count, sizeof *samples, by_size);
    printf("{\"messages\": %llu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
           (unsigned long long)messages, (double)(last - start) / 1e9, percentile(.5), percentile(.99), percentile(.999));
    return 0;
}
