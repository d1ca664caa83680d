/*
 * What the machine can do, without a mail server. Times are milliseconds.
 *
 * usage: limits scan FILE            reads it and finds each line by memchr(3)           {"ms", "lines"}
 *        limits copy FROM SKIP LENGTH TO   a new file with these octets of FROM, on the disk    {"ms"}
 *        limits cut FILE LENGTH      ftruncate(2), then fsync(2): the former, and both       {"ms", "synced"}
 *        limits evict FILE           out of the page cache                               {"ms"}
 *        limits sendfile ANSWERS INDEX     a POP3 server without mail: RETR n sends octets of ANSWERS, which hold the
 *                                    replies as they go over the wire; INDEX has their ends, 8 octets each
 */
#define _GNU_SOURCE
#include "pop3.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

static char block[1 << 20];

static int open_file(const char *path, int flags) {
  int fd = open(path, flags, 0600);
  if (fd < 0) fail(path, strerror(errno));
  return fd;
}

static void scan(const char *path) {
  enum { BLOCK = 256 * 1024 };
  int fd = open_file(path, O_RDONLY);
  double began = now();
  long lines = 0;
  ssize_t length;
  while ((length = read(fd, block, BLOCK)) > 0)
    for (char *at = block; (at = memchr(at, '\n', block + length - at)) != NULL; at++) lines++;
  printf("{\"ms\":%f,\"lines\":%ld}\n", now() - began, lines);
}

static void copy(const char *from, long long skip, long long left, const char *to) {
  int in = open_file(from, O_RDONLY), out = open_file(to, O_WRONLY | O_CREAT | O_EXCL);
  double began = now();
  if (lseek(in, skip, SEEK_SET) < 0) fail(from, strerror(errno));
  while (left > 0) {
    ssize_t length = read(in, block, left < (long long)sizeof block ? left : (long long)sizeof block);
    if (length <= 0) break;
    send_all(out, block, length);
    left -= length;
  }
  if (fsync(out) < 0) fail(to, strerror(errno));
  printf("{\"ms\":%f}\n", now() - began);
}

static void cut(const char *path, long long length) {
  int fd = open_file(path, O_RDWR);
  double began = now();
  if (ftruncate(fd, length) < 0) fail(path, strerror(errno));
  double shorter = now();
  if (fsync(fd) < 0) fail(path, strerror(errno));
  printf("{\"ms\":%f,\"synced\":%f}\n", shorter - began, now() - began);
}

static void evict(const char *path) {
  int fd = open_file(path, O_RDONLY);
  double began = now();
  if (fsync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) fail(path, strerror(errno));
  printf("{\"ms\":%f}\n", now() - began);
}

static void serve(int fd, int answers, const unsigned long long *ends, int messages) {
  static struct connection c;
  int on = 1;
  char reply[64];
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  c.fd = fd;
  c.start = c.end = 1;
  send_all(fd, "+OK\r\n", 5);
  for (;;) {
    char *end;
    while ((end = memchr(c.buffer + c.start, '\n', c.end - c.start)) == NULL)
      if (receive(&c) == 0) return;
    char *line = c.buffer + c.start;
    c.start = end + 1 - c.buffer;
    int number = strncmp(line, "RETR ", 5) == 0 ? atoi(line + 5) : 0;
    if (number > 0 && number <= messages) {
      off_t at = number == 1 ? 0 : ends[number - 2];
      while (at < (off_t)ends[number - 1])
        if (sendfile(fd, answers, &at, ends[number - 1] - at) < 0) return;
    } else {
      send_all(fd, reply, snprintf(reply, sizeof reply, "+OK %d 0\r\n", messages));
      if (strncmp(line, "QUIT", 4) == 0) return;
    }
  }
}

static void serve_answers(const char *answers, const char *index) {
  struct stat status;
  int fd = open_file(index, O_RDONLY);
  fstat(fd, &status);
  unsigned long long *ends = malloc(status.st_size);
  if (read(fd, ends, status.st_size) != status.st_size) fail(index, "cannot be read");
  struct sockaddr_in address = loopback(0);
  socklen_t length = sizeof address;
  int listening = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(listening, (struct sockaddr *)&address, sizeof address) < 0 || listen(listening, 511) < 0)
    fail("listen", strerror(errno));
  getsockname(listening, (struct sockaddr *)&address, &length);
  printf("ready on 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  signal(SIGPIPE, SIG_IGN);
  int file = open_file(answers, O_RDONLY);
  for (;;) {
    int client = accept(listening, NULL, NULL);
    if (client < 0) continue;
    serve(client, file, ends, status.st_size / sizeof *ends);
    close(client);
  }
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "scan") == 0) scan(argv[2]);
  else if (argc == 3 && strcmp(argv[1], "evict") == 0) evict(argv[2]);
  else if (argc == 4 && strcmp(argv[1], "cut") == 0) cut(argv[2], atoll(argv[3]));
  else if (argc == 6 && strcmp(argv[1], "copy") == 0) copy(argv[2], atoll(argv[3]), atoll(argv[4]), argv[5]);
  else if (argc == 4 && strcmp(argv[1], "sendfile") == 0) serve_answers(argv[2], argv[3]);
  else fail("limits", "scan FILE | cut FILE LENGTH | evict FILE | copy FROM SKIP LENGTH TO | sendfile ANSWERS INDEX");
  return 0;
}
