/** The real disk, with an eye on what is read of one file, and a hand in the calls for others. */
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';

export interface MeteredIo extends SpoolIo {
  /** Octets read of files whose path ends so, since the last call. */
  readOf(ending: string): number;
}

/** @param fail asked before each call on a path: an errno name makes it fail */
export function meteredIo(
  fail: (call: keyof SpoolIo, path: string) => string | undefined = () => undefined,
): MeteredIo {
  const paths = new Map<number, string>();
  const read = new Map<string, number>();
  const check = (call: keyof SpoolIo, path: string) => {
    const code = fail(call, path);
    if (code !== undefined) throw Object.assign(new Error(`${code}: ${call} ${path}`), { code });
  };
  const onFd = (call: keyof SpoolIo, fd: number) => check(call, paths.get(fd) ?? '');
  return {
    ...nodeIo,
    open: async (path, flags, mode) => {
      check('open', path);
      const fd = await nodeIo.open(path, flags, mode);
      paths.set(fd, path);
      return fd;
    },
    close: async fd => {
      const path = paths.get(fd) ?? '';
      paths.delete(fd);
      await nodeIo.close(fd);
      check('close', path);
    },
    read: async (fd, into, position) => {
      onFd('read', fd);
      const count = await nodeIo.read(fd, into, position);
      const path = paths.get(fd) ?? '';
      read.set(path, (read.get(path) ?? 0) + count);
      return count;
    },
    write: async (fd, from, position) => {
      onFd('write', fd);
      return nodeIo.write(fd, from, position);
    },
    fstat: async fd => {
      onFd('fstat', fd);
      return nodeIo.fstat(fd);
    },
    rename: async (from, to) => {
      check('rename', from);
      await nodeIo.rename(from, to);
    },
    unlink: async path => {
      check('unlink', path);
      await nodeIo.unlink(path);
    },
    mkdir: async (path, mode) => {
      check('mkdir', path);
      await nodeIo.mkdir(path, mode);
    },
    readOf(ending) {
      let sum = 0;
      for (const [path, octets] of read) {
        if (!path.endsWith(ending)) continue;
        sum += octets;
        read.delete(path);
      }
      return sum;
    },
  };
}
