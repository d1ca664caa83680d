/*
 * Many sessions at once, by one thread: each has a user of its own, u0, u1, ... Times are milliseconds.
 *
 * usage: load sessions PORT PASSWORD CLIENTS SECONDS   whole sessions (connect, USER, PASS, STAT, QUIT, end of the
 *                                             stream), one after the other: {"sessions", "seconds", "p50", "p99", "most", "cpu"}
 *        load idle PORT PASSWORD FIRST COUNT  logs in, then holds them: {"sessions"}, until its standard input ends
 *        load noops PORT PASSWORD USER MICROSECONDS   NOOP at this pace, whether or not the last one was
 *                                             answered, until its standard input ends: {"commands", "p50", "p99", "most", "cpu"}
 * "cpu" is what this program has used itself.
 */
#include "pop3.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

enum step { GREETING, USER, PASS, STAT, QUIT, END };

struct client {
  int fd, number;
  enum step step;
  double began;
  size_t length;
  char line[1024];
};

static const char *password;
static int port, epoll;
static double *times;
static size_t count, room;

static void add_time(double ms) {
  if (count == room) times = realloc(times, (room = room * 2 + 1024) * sizeof *times);
  times[count++] = ms;
}

static int ascending(const void *a, const void *b) {
  double difference = *(const double *)a - *(const double *)b;
  return difference < 0 ? -1 : difference > 0;
}

static double at(double share) {
  return count == 0 ? 0 : times[(size_t)(share * (count - 1))];
}

static double cpu_ms(void) {
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  return (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e3 + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e3;
}

static void report(const char *unit, double seconds) {
  double cpu = cpu_ms();
  qsort(times, count, sizeof *times, ascending);
  printf("{\"%s\":%zu,\"seconds\":%f,\"p50\":%f,\"p99\":%f,\"most\":%f,\"cpu\":%f}\n", unit, count, seconds,
         at(0.5), at(0.99), at(1), cpu);
  fflush(stdout);
}

static void begin(struct client *client) {
  struct sockaddr_in address = loopback(port);
  client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  client->step = GREETING;
  client->length = 0;
  client->began = now();
  if (client->fd < 0) fail("socket", strerror(errno));
  if (connect(client->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
    fail("connect", strerror(errno));
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->fd, &event) < 0) fail("epoll_ctl", strerror(errno));
}

/* The reply to the current step is there; sends the command of the next. */
static void advance(struct client *client) {
  if (strncmp(client->line, "+OK", 3) != 0) fail("refused", client->line);
  char command[256];
  int length = 0;
  client->step++;
  if (client->step == USER) length = snprintf(command, sizeof command, "USER u%d\r\n", client->number);
  if (client->step == PASS) length = snprintf(command, sizeof command, "PASS %s\r\n", password);
  if (client->step == STAT) length = snprintf(command, sizeof command, "STAT\r\n");
  if (client->step == QUIT) length = snprintf(command, sizeof command, "QUIT\r\n");
  if (length > 0) send_all(client->fd, command, length);
}

/* 0 at the end of the stream. */
static int handle(struct client *client) {
  ssize_t length = read(client->fd, client->line + client->length, sizeof client->line - 1 - client->length);
  if (length < 0 && errno == EAGAIN) return 1;
  if (length < 0 && client->step != END) fail("read", strerror(errno));
  if (length <= 0) return 0;
  client->length += length;
  client->line[client->length] = 0;
  if (client->line[client->length - 1] != '\n') return 1;
  client->length = 0;
  advance(client);
  return 1;
}

static void sessions(int clients, double seconds) {
  struct client *all = calloc(clients, sizeof *all);
  double began = now(), end = began + seconds * 1e3;
  int open = clients;
  for (int n = 0; n < clients; n++) {
    all[n].number = n;
    begin(&all[n]);
  }
  while (open > 0) {
    struct epoll_event events[64];
    int ready = epoll_wait(epoll, events, 64, 30000);
    if (ready == 0) fail("sessions", "no answer for 30 seconds");
    for (int n = 0; n < ready; n++) {
      struct client *client = events[n].data.ptr;
      if (handle(client)) continue;
      if (client->step != END) fail("session", "the server closed the connection");
      close(client->fd);
      add_time(now() - client->began);
      if (now() < end) begin(client);
      else open--;
    }
  }
  report("sessions", (now() - began) / 1e3);
}

/* A hundred logins at a time, so that no backlog overflows. */
static void idle(int first, int clients) {
  enum { AT_ONCE = 100 };
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  struct client *all = calloc(clients, sizeof *all);
  int begun = 0, open = 0;
  while (open < clients) {
    while (begun < clients && begun - open < AT_ONCE) {
      all[begun].number = first + begun;
      begin(&all[begun++]);
    }
    struct epoll_event events[64];
    int ready = epoll_wait(epoll, events, 64, 30000);
    if (ready == 0) fail("idle", "no answer for 30 seconds");
    for (int n = 0; n < ready; n++) {
      struct client *client = events[n].data.ptr;
      enum step before = client->step;
      if (before == QUIT) fail("idle", "the server ended a session");
      if (before == STAT) {
        if (read(client->fd, client->line, sizeof client->line) <= 0 || client->line[0] != '+')
          fail("idle", "STAT was not answered");
        client->step = QUIT;
        open++;
        continue;
      }
      if (!handle(client)) fail("idle", "the server closed the connection");
    }
  }
  printf("{\"sessions\":%d}\n", open);
  fflush(stdout);
  while (getchar() != EOF) {
  }
}

static void noops(const char *user, long microseconds) {
  static struct connection c;
  enum { MOST_IN_FLIGHT = 1 << 20 };
  static double sent[MOST_IN_FLIGHT];
  char line[256];
  connect_to(&c, port);
  expect_ok(&c, "greeting");
  send_all(c.fd, line, snprintf(line, sizeof line, "USER %s\r\n", user));
  expect_ok(&c, "USER");
  send_all(c.fd, line, snprintf(line, sizeof line, "PASS %s\r\n", password));
  expect_ok(&c, "PASS");
  int on = 1; /* Else each NOOP would wait for the answer to the last one. */
  setsockopt(c.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  printf("{\"sessions\":1}\n");
  fflush(stdout);
  int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct timespec pace = {.tv_sec = microseconds / 1000000, .tv_nsec = microseconds % 1000000 * 1000};
  struct itimerspec times = {.it_interval = pace, .it_value = pace};
  timerfd_settime(timer, 0, &times, NULL);
  size_t asked = 0, answered = 0;
  int going = 1;
  double began = now();
  while (going || answered < asked) {
    struct pollfd fds[] = {{c.fd, POLLIN, 0}, {going ? timer : -1, POLLIN, 0}, {going ? 0 : -1, POLLIN, 0}};
    poll(fds, 3, -1);
    if (fds[0].revents && receive(&c) == 0) fail("NOOP", "the server closed the connection");
    while (memchr(c.buffer + c.start, '\n', c.end - c.start) != NULL) {
      expect_ok(&c, "NOOP");
      add_time(now() - sent[answered++ % MOST_IN_FLIGHT]);
    }
    unsigned long long ticks = 0;
    if (fds[1].revents && read(timer, &ticks, sizeof ticks) < 0) ticks = 0;
    for (; ticks > 0; ticks--) { /* Where this program was late itself, the command counts from its own time. */
      sent[asked++ % MOST_IN_FLIGHT] = now() - (ticks - 1) * microseconds / 1e3;
      send_all(c.fd, "NOOP\r\n", 6);
    }
    if (fds[2].revents) going = 0;
  }
  report("commands", (now() - began) / 1e3);
}

int main(int argc, char **argv) {
  if (argc < 6) fail("load", "sessions|idle|noops PORT PASSWORD ...");
  port = atoi(argv[2]);
  password = argv[3];
  epoll = epoll_create1(0);
  if (strcmp(argv[1], "sessions") == 0) sessions(atoi(argv[4]), atof(argv[5]));
  else if (strcmp(argv[1], "idle") == 0) idle(atoi(argv[4]), atoi(argv[5]));
  else if (strcmp(argv[1], "noops") == 0) noops(argv[4], atol(argv[5]));
  else fail("load", "no such command");
  return 0;
}
