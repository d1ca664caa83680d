/*
 * What the clients of the benchmarks share: an ordinary blocking socket, lines, the end of a multi-line reply
 * (RFC 1939 section 3), and time. Whatever goes wrong ends the program with a text on standard error.
 *
 * buffer[start - 1] is always the octet before the next unread one, so that the end of a reply, which may be
 * cut anywhere by the network, is recognised by looking back.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER_SIZE = 256 * 1024 };

struct connection {
  int fd;
  int acknowledges_at_once;
  size_t start, end;
  long long octets;
  char buffer[BUFFER_SIZE];
};

static void fail(const char *what, const char *detail) {
  fprintf(stderr, "%s: %s\n", what, detail);
  exit(1);
}

/* Milliseconds. */
static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static __attribute__((unused)) void send_all(int fd, const char *octets, size_t length) {
  while (length > 0) {
    ssize_t sent = write(fd, octets, length);
    if (sent < 0) fail("write", strerror(errno));
    octets += sent;
    length -= sent;
  }
}

static __attribute__((unused)) void connect_to(struct connection *c, int port) {
  struct sockaddr_in address = loopback(port);
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
    fail("connect", strerror(errno));
  c->start = c->end = 1;
  c->octets = 0;
}

/* 0 at the end of the stream. */
static __attribute__((unused)) ssize_t receive(struct connection *c) {
  if (c->end == BUFFER_SIZE || c->start == c->end) {
    memmove(c->buffer, c->buffer + c->start - 1, c->end - c->start + 1);
    c->end -= c->start - 1;
    c->start = 1;
  }
  if (c->end == BUFFER_SIZE) fail("reply", "a line that is longer than the buffer");
  ssize_t length = read(c->fd, c->buffer + c->end, BUFFER_SIZE - c->end);
  if (length < 0) fail("read", strerror(errno));
  c->end += length;
  c->octets += length;
  int on = 1; /* The kernel takes it back by itself. */
  if (c->acknowledges_at_once) setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
  return length;
}

/* The next line, which must be +OK; valid until the next call. */
static __attribute__((unused)) const char *expect_ok(struct connection *c, const char *command) {
  char *end;
  while ((end = memchr(c->buffer + c->start, '\n', c->end - c->start)) == NULL)
    if (receive(c) == 0) fail(command, "the server closed the connection");
  char *line = c->buffer + c->start;
  if (strncmp(line, "+OK", 3) != 0) {
    *end = 0;
    fail(command, line);
  }
  c->start = end + 1 - c->buffer;
  return line;
}

/* The rest of a multi-line reply. */
static __attribute__((unused)) void skip_lines(struct connection *c) {
  size_t from = c->start;
  for (;;) {
    char *dot = memchr(c->buffer + from, '.', c->end - from);
    c->start = dot == NULL ? c->end : (size_t)(dot - c->buffer);
    if (dot != NULL && c->end - c->start >= 3) {
      if (dot[-1] == '\n' && dot[1] == '\r' && dot[2] == '\n') {
        c->start += 3;
        return;
      }
      from = c->start + 1;
      continue;
    }
    if (receive(c) == 0) fail("multi-line reply", "the server closed the connection");
    from = c->start;
  }
}
