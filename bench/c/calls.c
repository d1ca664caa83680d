/*
 * What the promises cost on this machine, whatever the language: a POP3 server without mail that says what
 * fixed-replies.mjs says, and makes for each session the system calls that no server can do without that looks whether
 * a password still holds, locks the mailbox against other sessions, other programs and other hosts, looks for an UPDATE
 * that was cut off, reads the mailbox and writes a log; each as cheap as it can be had. One thread, epoll(7), and
 * nothing is parsed or checked.
 *
 * usage: calls SPOOL USERS STATE    listens on a port of 127.0.0.1 that it prints; mailboxes u0, u1, ... in SPOOL
 */
#include "pop3.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/stat.h>

enum { NAME = 64, PATH = 512, RECORD = 160 };

struct client {
  int fd, number;
  int mailbox; /* -1 while nobody is logged in */
  char user[NAME];
  char lock[PATH], spare[PATH]; /* the dotlock, and the file that becomes one */
  struct client *next;
};

static const char *spool, *users, *state;
static int epoll, locks, count;
static struct client *unused;

static struct client *take_client(void) {
  struct client *client = unused;
  if (client != NULL) {
    unused = client->next;
    return client;
  }
  client = calloc(1, sizeof *client);
  client->number = count++;
  snprintf(client->spare, PATH, "%s/.spare.%d", spool, client->number);
  int fd = open(client->spare, O_CREAT | O_WRONLY, 0644);
  if (fd < 0) fail(client->spare, strerror(errno));
  dprintf(fd, "%d:localhost\n", getpid());
  close(fd);
  return client;
}

static void lock(int fd, short type, off_t start, off_t length) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};
  if (fcntl(fd, F_OFD_SETLK, &lock) < 0) fail("fcntl", strerror(errno));
}

static void write_log(const char *user, const char *event) {
  dprintf(STDERR_FILENO, "2026-01-05T10:00:00.000Z info 127.0.0.1 %s user=%s messages=3 octets=660\n", event, user);
}

static void log_in(struct client *client) {
  static char octets[64 * 1024];
  char path[PATH], record[RECORD];
  struct stat status;
  if (stat(users, &status) < 0) fail(users, strerror(errno));
  lock(locks, F_WRLCK, client->number, 1);
  int length = snprintf(record, RECORD, "%d 2026-01-05T10:00:00.000Z 127.0.0.1", getpid());
  if (pwrite(locks, record, length, (off_t)client->number * RECORD) != length) fail("pwrite", strerror(errno));
  snprintf(path, PATH, "%s/%s", spool, client->user);
  client->mailbox = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (client->mailbox < 0 || fstat(client->mailbox, &status) < 0) fail(path, strerror(errno));
  snprintf(client->lock, PATH, "%s.lock", path);
  if (link(client->spare, client->lock) < 0) fail(client->lock, strerror(errno));
  lock(client->mailbox, F_WRLCK, 0, 0);
  if (lstat(path, &status) < 0) fail(path, strerror(errno)); /* Still the file that is locked. */
  snprintf(path, PATH, "%s/%s/journal", state, client->user);
  if (lstat(path, &status) == 0) fail(path, "there is a journal");
  if (pread(client->mailbox, octets, sizeof octets, 0) <= 0) fail(client->user, "cannot be read");
  write_log(client->user, "login");
}

static void log_out(struct client *client) {
  if (client->mailbox < 0) return;
  if (unlink(client->lock) < 0) fail(client->lock, strerror(errno));
  close(client->mailbox); /* And with it the lock on it. */
  client->mailbox = -1;
  lock(locks, F_UNLCK, client->number, 1);
  write_log(client->user, "logout");
}

static void say(struct client *client, const char *reply) {
  send_all(client->fd, reply, strlen(reply));
}

/* The client sends a command when it has seen the last reply, so that each comes by itself. 0 at the end. */
static int handle(struct client *client) {
  char line[1024];
  ssize_t length = read(client->fd, line, sizeof line - 1);
  if (length <= 0) return 0;
  line[length] = 0;
  if (sscanf(line, "USER %63[a-z0-9]", client->user) == 1) say(client, "+OK\r\n");
  else if (strncmp(line, "PASS", 4) == 0) {
    log_in(client);
    say(client, "+OK maildrop has 3 messages (660 octets)\r\n");
  } else if (strncmp(line, "STAT", 4) == 0) say(client, "+OK 3 660\r\n");
  else {
    log_out(client);
    say(client, "+OK bye\r\n");
    shutdown(client->fd, SHUT_WR);
  }
  return 1;
}

static void accept_from(int listening) {
  int fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return;
  struct client *client = take_client();
  client->fd = fd;
  client->mailbox = -1;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl", strerror(errno));
  say(client, "+OK ready\r\n");
}

static void end(struct client *client) {
  log_out(client);
  close(client->fd);
  client->next = unused;
  unused = client;
}

int main(int argc, char **argv) {
  if (argc != 4) fail("calls", "SPOOL USERS STATE");
  spool = argv[1], users = argv[2], state = argv[3];
  char path[PATH];
  snprintf(path, PATH, "%s/locks", state);
  locks = open(path, O_RDWR | O_CREAT, 0600);
  struct sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  int on = 1, listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(listening, SOL_TCP, TCP_NODELAY, &on, sizeof on); /* accept(2) hands it on. */
  if (locks < 0 || bind(listening, (struct sockaddr *)&address, length) < 0 || listen(listening, 511) < 0)
    fail("listen", strerror(errno));
  getsockname(listening, (struct sockaddr *)&address, &length);
  printf("listens on 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  signal(SIGPIPE, SIG_IGN);
  epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(epoll, EPOLL_CTL_ADD, listening, &event);
  for (;;) {
    struct epoll_event events[64];
    int ready = epoll_wait(epoll, events, 64, -1);
    for (int n = 0; n < ready; n++) {
      struct client *client = events[n].data.ptr;
      if (client == NULL) accept_from(listening);
      else if (!handle(client)) end(client);
    }
  }
}
