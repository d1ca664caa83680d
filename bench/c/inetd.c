/*
 * As little of inetd as there can be, without its limits and its log: so that what is measured is the server that it
 * starts. Writes its port to standard output. Its own CPU time, and that of the servers that have ended, is its
 * /proc/PID/stat.
 *
 * usage: inetd nowait|wait PROGRAM ARGUMENT...
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void reap(int signal) {
  (void)signal;
  int saved = errno;
  while (waitpid(-1, NULL, WNOHANG) > 0) {
  }
  errno = saved;
}

/* On descriptors 0, 1 and 2, as inetd has it, and without PATH. */
static pid_t start(int fd, int other, char **argv) {
  pid_t pid = fork();
  if (pid < 0) fail("fork");
  if (pid > 0) return pid;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (int n = 0; n < 3; n++) dup2(fd, n);
  close(fd);
  if (other >= 0) close(other);
  char *none[] = {NULL};
  execve(argv[0], argv, none);
  _exit(127);
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: inetd nowait|wait PROGRAM ARGUMENT...\n");
    return 64;
  }
  int waits = strcmp(argv[1], "wait") == 0;
  struct sockaddr_in address = {.sin_family = AF_INET};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  int listening = socket(AF_INET, SOCK_STREAM, 0);
  if (listening < 0 || bind(listening, (struct sockaddr *)&address, sizeof address) < 0) fail("bind");
  if (listen(listening, 511) < 0) fail("listen");
  getsockname(listening, (struct sockaddr *)&address, &length);
  printf("ready on 127.0.0.1:%d\n", ntohs(address.sin_port));
  fflush(stdout);
  if (waits) {
    for (;;) {
      struct pollfd readable = {.fd = listening, .events = POLLIN};
      if (poll(&readable, 1, -1) > 0) waitpid(start(listening, -1, argv + 2), NULL, 0);
    }
  }
  struct sigaction action = {.sa_handler = reap, .sa_flags = SA_RESTART};
  sigaction(SIGCHLD, &action, NULL);
  for (;;) {
    int fd = accept(listening, NULL, NULL);
    if (fd < 0) continue;
    start(fd, listening, argv + 2);
    close(fd);
  }
}
