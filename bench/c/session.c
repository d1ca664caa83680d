/*
 * One POP3 session, step by step: each line of standard input is a step, and is answered by one line of JSON. Times are
 * milliseconds. The socket is as any client's: no options are set, unless the second argument is `quickack`.
 *
 * usage: session PORT [quickack]
 *   open USER PASSWORD       connect, greeting, USER, PASS, STAT      {"greeting", "ms", "messages"}
 *   list COMMAND             one command with a multi-line reply      {"ms", "octets"}
 *   all RETR|TOP|DELE DEPTH MS   for every message, DEPTH commands in flight, no new ones after MS
 *                                                                     {"ms", "messages", "octets"}
 *   dele FIRST LAST STEP     DELE, as fast as it goes                 {"ms"}
 *   quit                     QUIT, until +OK                          {"ms"}
 *   end                      connect, until the server closes         {"ms"}
 */
#include "pop3.h"

static struct connection c;
static int messages;

static void command(const char *text) {
  char line[600];
  int length = snprintf(line, sizeof line, "%s\r\n", text);
  send_all(c.fd, line, length);
}

static void simple(const char *verb, const char *argument) {
  char text[560];
  snprintf(text, sizeof text, "%s %s", verb, argument);
  command(text);
  expect_ok(&c, verb);
}

static void open_session(int port, const char *user, const char *password) {
  double began = now();
  connect_to(&c, port);
  expect_ok(&c, "greeting");
  double greeted = now();
  simple("USER", user);
  simple("PASS", password);
  command("STAT");
  messages = atoi(expect_ok(&c, "STAT") + 4);
  printf("{\"ms\":%f,\"greeting\":%f,\"messages\":%d}\n", now() - began, greeted - began, messages);
}

/* Sends the commands for messages from `next` on, as one write, and returns the first that was not sent. */
static int send_batch(const char *verb, int next, int last, int step, int count) {
  char batch[64 * 1024];
  size_t length = 0;
  const char *tail = strcmp(verb, "TOP") == 0 ? " 0" : "";
  for (; count > 0 && next <= last; count--, next += step)
    length += snprintf(batch + length, sizeof batch - length, "%s %d%s\r\n", verb, next, tail);
  send_all(c.fd, batch, length);
  return next;
}

/* Half of the commands in flight are renewed at a time, as a client does that thinks in batches. */
static void for_each(const char *verb, int first, int last, int step, int depth, double most) {
  int is_long = strcmp(verb, "DELE") != 0;
  long long before = c.octets - (long long)(c.end - c.start);
  double began = now();
  int in_flight = 0, answered = 0, next = first;
  while (next <= last || in_flight > 0) {
    if (next <= last && in_flight <= depth / 2) {
      if (now() - began >= most) {
        last = 0;
        continue;
      }
      int from = next;
      next = send_batch(verb, next, last, step, depth - in_flight);
      in_flight += (next - from) / step;
    }
    expect_ok(&c, verb);
    if (is_long) skip_lines(&c);
    in_flight--;
    answered++;
  }
  long long octets = c.octets - (long long)(c.end - c.start) - before;
  printf("{\"ms\":%f,\"messages\":%d,\"octets\":%lld}\n", now() - began, answered, octets);
}

static void list(const char *text) {
  long long before = c.octets;
  double began = now();
  command(text);
  expect_ok(&c, text);
  skip_lines(&c);
  printf("{\"ms\":%f,\"octets\":%lld}\n", now() - began, c.octets - before);
}

static void quit(void) {
  double began = now();
  command("QUIT");
  expect_ok(&c, "QUIT");
  printf("{\"ms\":%f}\n", now() - began);
  fflush(stdout);
  while (receive(&c) > 0) c.start = c.end;
  close(c.fd);
}

static void wait_for_end(int port) {
  double began = now();
  connect_to(&c, port);
  while (receive(&c) > 0) c.start = c.end;
  printf("{\"ms\":%f}\n", now() - began);
  close(c.fd);
}

int main(int argc, char **argv) {
  if (argc < 2) fail("session", "no port");
  int port = atoi(argv[1]);
  c.acknowledges_at_once = argc > 2 && strcmp(argv[2], "quickack") == 0;
  char line[600], text[512], other[512];
  int a, b, step;
  double most;
  while (fgets(line, sizeof line, stdin) != NULL) {
    if (sscanf(line, "open %511s %511s", text, other) == 2) open_session(port, text, other);
    else if (sscanf(line, "all %511s %d %lf", text, &a, &most) == 3) for_each(text, 1, messages, 1, a, most);
    else if (sscanf(line, "dele %d %d %d", &a, &b, &step) == 3) for_each("DELE", a, b, step, 512, 1e9);
    else if (sscanf(line, "list %511[^\n]", text) == 1) list(text);
    else if (strcmp(line, "quit\n") == 0) quit();
    else if (strcmp(line, "end\n") == 0) wait_for_end(port);
    else fail("no such step", line);
    fflush(stdout);
  }
  return 0;
}
