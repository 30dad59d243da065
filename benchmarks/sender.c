/* Sends readings over UDP at an even rate, and says what it really did.
 *
 *   sender HOST PORT RATE SECONDS SENSORS SOCKETS LINES
 *
 * RATE counts datagrams a second; LINES readings go into each. Every sensor keeps to one socket, so that a receiver
 * which spreads senders over workers (SO_REUSEPORT) sees each sensor's readings in order. A sensor's timestamps are
 * the current time and never repeat; its seq counts from 0 without a gap.
 *
 * The schedule is absolute: who was late catches up, in bursts of at most BURST datagrams. One JSON object is
 * printed at the end. `longest_lag` is the most seconds that a datagram left behind its schedule.
 *
 * Datagrams of one length are handed to the kernel as one message (UDP_SEGMENT, since Linux 4.18), which cuts it apart
 * before the receiver's socket: they arrive as they always do, and cost their sender a third. Buoys are elsewhere:
 * what they cost to send must not be taken from a receiver that is measured on the same machine.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

enum { BURST = 64, LARGEST = 65507, LONGEST_LINE = 256, FIRST_SENSOR = 900001, PAUSE_NS = 100000, MOST_ERRORS = 10000 };

struct sensor {
    long seq;
    long last; /* microseconds since 1970 */
};

/* A message is a run of datagrams of one length. */
struct messages {
    char *buffer;
    int count;
    size_t lengths[BURST]; /* of each one's datagrams */
    struct iovec parts[BURST];
    struct mmsghdr headers[BURST];
    union {
        char bytes[CMSG_SPACE(sizeof(unsigned short))];
        struct cmsghdr align;
    } controls[BURST];
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static double monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static long micros_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static char *text(char *p, const char *what) {
    size_t length = strlen(what);
    memcpy(p, what, length);
    return p + length;
}

static char *digits(char *p, long value, int width) {
    for (int i = width - 1; i >= 0; i--, value /= 10) p[i] = (char)('0' + value % 10);
    return p + width;
}

static char *number(char *p, long value) {
    int width = 1;
    for (long rest = value / 10; rest; rest /= 10) width++;
    return digits(p, value, width);
}

/* The date is written anew once a second: printf in the loop would cost more than the system calls. */
static char *timestamp(char *p, long micros) {
    static long written = -1;
    static char date[32];
    long second = micros / 1000000;
    if (second != written) {
        struct tm parts;
        time_t when = second;
        gmtime_r(&when, &parts);
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S.", &parts);
        written = second;
    }
    return digits(text(p, date), micros % 1000000, 6);
}

static char *reading(char *p, struct sensor *sensors, long which, long now) {
    struct sensor *s = &sensors[which];
    s->last = now > s->last ? now : s->last + 1;
    p = timestamp(text(p, "{\"timestamp\": \""), s->last);
    p = digits(text(p, "\", \"temperature\": 20."), 10 + s->seq % 90, 2);
    p = digits(text(p, ", \"humidity\": 59."), 10 + s->seq % 80, 2);
    p = text(p, ", \"pressure\": 1001.87, \"sensor_id\": ");
    p = number(p, FIRST_SENSOR + which);
    p = text(p, ", \"location\": {\"lon\": 3.185785, \"lat\": 42.488629}, \"seq\": ");
    return text(number(p, s->seq++), "}\n");
}

static int *connected(const char *host, int port, int count) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) fail("address");
    int *sockets = calloc((size_t)count, sizeof *sockets);
    for (int i = 0; i < count; i++) {
        sockets[i] = socket(AF_INET, SOCK_DGRAM, 0);
        if (sockets[i] < 0 || connect(sockets[i], (struct sockaddr *)&to, sizeof to)) fail("socket");
    }
    return sockets;
}

static struct messages *prepared(void) {
    struct messages *m = calloc(1, sizeof *m);
    m->buffer = malloc((size_t)BURST * (LARGEST + LONGEST_LINE));
    for (int i = 0; i < BURST; i++) {
        m->headers[i].msg_hdr.msg_iov = &m->parts[i];
        m->headers[i].msg_hdr.msg_iovlen = 1;
    }
    return m;
}

/* The datagram lies right behind those before it. */
static void append(struct messages *m, char *datagram, size_t length) {
    int last = m->count - 1;
    if (last >= 0 && m->lengths[last] == length && m->parts[last].iov_len + length <= LARGEST) {
        m->parts[last].iov_len += length;
        return;
    }
    m->lengths[m->count] = length;
    m->parts[m->count].iov_base = datagram;
    m->parts[m->count++].iov_len = length;
}

static void say_where_to_cut(struct messages *m) {
    for (int i = 0; i < m->count; i++) {
        struct msghdr *header = &m->headers[i].msg_hdr;
        header->msg_control = NULL;
        header->msg_controllen = 0;
        if (m->parts[i].iov_len == m->lengths[i]) continue;
        unsigned short length = (unsigned short)m->lengths[i];
        header->msg_control = m->controls[i].bytes;
        header->msg_controllen = sizeof m->controls[i].bytes;
        struct cmsghdr *control = CMSG_FIRSTHDR(header);
        control->cmsg_level = IPPROTO_UDP;
        control->cmsg_type = UDP_SEGMENT;
        control->cmsg_len = CMSG_LEN(sizeof length);
        memcpy(CMSG_DATA(control), &length, sizeof length);
    }
}

/* Sends all of them, whatever single calls say: what is counted as sent has left. */
static long send_all(int fd, struct mmsghdr *headers, int count) {
    long errors = 0;
    for (int done = 0; done < count;) {
        int sent = sendmmsg(fd, headers + done, (unsigned)(count - done), 0);
        if (sent > 0) done += sent;
        else if (++errors > MOST_ERRORS) fail("sendmmsg");
    }
    return errors;
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "usage: sender HOST PORT RATE SECONDS SENSORS SOCKETS LINES\n");
        return 2;
    }
    double rate = atof(argv[3]), seconds = atof(argv[4]);
    int sensors = atoi(argv[5]), sockets = atoi(argv[6]), lines = atoi(argv[7]);
    if (rate <= 0 || seconds <= 0 || sockets < 1 || sensors < sockets || lines < 1 || lines * LONGEST_LINE > LARGEST) {
        fprintf(stderr, "sender: at least as many sensors as sockets, and %d lines at most\n", LARGEST / LONGEST_LINE);
        return 2;
    }
    int *fds = connected(argv[1], atoi(argv[2]), sockets);
    struct sensor *known = calloc((size_t)sensors, sizeof *known);
    long *next = calloc((size_t)sockets, sizeof *next); /* sensor of each socket: it has s, s + sockets, … */
    for (int s = 0; s < sockets; s++) next[s] = s;
    struct messages *m = prepared();

    long total = (long)(rate * seconds + 0.5), sent = 0, errors = 0, bytes = 0;
    double longest_lag = 0, began = monotonic(), ended = began;
    for (int s = 0; sent < total; s = (s + 1) % sockets) {
        double elapsed = monotonic() - began, lag = elapsed - (sent + 1) / rate;
        long due = (long)(elapsed * rate) - sent;
        if (due < 1) {
            struct timespec pause = {0, PAUSE_NS};
            nanosleep(&pause, NULL);
            continue;
        }
        if (lag > longest_lag) longest_lag = lag;
        if (due > BURST) due = BURST;
        if (due > total - sent) due = total - sent;
        long now = micros_now();
        char *p = m->buffer;
        m->count = 0;
        for (int i = 0; i < due; i++) {
            char *start = p;
            for (int l = 0; l < lines; l++) {
                p = reading(p, known, next[s], now);
                next[s] = next[s] + sockets < sensors ? next[s] + sockets : s;
            }
            p--; /* the last line needs no end */
            append(m, start, (size_t)(p - start));
        }
        bytes += (long)(p - m->buffer);
        say_where_to_cut(m);
        errors += send_all(fds[s], m->headers, m->count);
        sent += due;
        ended = monotonic();
    }
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    printf("{\"datagrams\": %ld, \"lines\": %ld, \"bytes\": %ld, \"seconds\": %.6f, \"errors\": %ld, "
           "\"longest_lag\": %.6f, \"user\": %.6f, \"system\": %.6f}\n",
           sent, sent * lines, bytes, ended - began, errors, longest_lag,
           used.ru_utime.tv_sec + used.ru_utime.tv_usec * 1e-6, used.ru_stime.tv_sec + used.ru_stime.tv_usec * 1e-6);
    return 0;
}
