"""Appends messages to mailbox files, fast, under the locks of its kind; for the contention soak.

usage: appender.py KIND     with a line "PATH MESSAGE" for each on standard input, MESSAGE in base64 and as it
is to stand in the file; answers "ok MILLISECONDS", how long it waited for the lock.

The kinds: fcntl waits for the kernel lock alone; dotlock has no other; both takes the dotlock and then waits for the
kernel lock, as procmail does; policy tries both without waiting, the kernel lock first, as Debian's policy has it.
"""
import base64, fcntl, os, random, sys, time


def dotlock(path):
    """Whether it is ours now. By link(2), with our pid, as most do."""
    name = '%s.lock.%d' % (path, os.getpid())
    fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    os.write(fd, b'%d\n' % os.getpid())
    os.close(fd)
    try:
        os.link(name, path + '.lock')
        return True
    except FileExistsError:
        return False
    finally:
        os.unlink(name)


def append(f, text):
    """In several writes, as an agent with a buffer does: only a lock keeps others out in between."""
    f.seek(0, os.SEEK_END)
    for cut in range(0, len(text), 4096):
        f.write(text[cut:cut + 4096])


def pause():
    time.sleep(random.uniform(0.002, 0.03))


def deliver(kind, path, text):
    dotted = False
    try:
        if kind in ('dotlock', 'both'):
            while not dotlock(path):
                pause()
            dotted = True
        with open(path, 'r+b', buffering=0) as f:
            if kind in ('fcntl', 'both'):
                fcntl.lockf(f, fcntl.LOCK_EX)
            while kind == 'policy':
                try:
                    fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if dotlock(path):
                        dotted = True
                        break
                    fcntl.lockf(f, fcntl.LOCK_UN)
                except BlockingIOError:
                    pass
                pause()
            locked = time.monotonic()
            append(f, text)
        return locked
    finally:
        if dotted:
            os.unlink(path + '.lock')


for line in sys.stdin:
    path, message = line.split()
    start = time.monotonic()
    locked = deliver(sys.argv[1], path, base64.b64decode(message))
    print('ok %d' % ((locked - start) * 1000), flush=True)
