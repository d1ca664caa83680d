/** Reads what `strace -f` wrote: the calls that concern files and ids, in order, cut where root was given up. */

export interface Call {
  readonly call: string;
  /** The last path among its arguments: the one that is made, for link(2) and rename(2). */
  readonly path: string;
  readonly text: string;
  /** Whether it succeeded in changing, or opening for change, what the path names. */
  readonly changes: boolean;
}

const CHANGING = new Set(
  [
    'mkdir',
    'rmdir',
    'unlink',
    'link',
    'symlink',
    'rename',
    'chmod',
    'fchmodat',
    'chown',
    'lchown',
    'fchownat',
    'mknod',
  ].concat(['truncate', 'utimensat', 'mkdirat', 'unlinkat', 'linkat', 'renameat', 'renameat2', 'symlinkat']),
);

/** @param uid whose the process became; the cut is the call that made it so */
export function readTrace(trace: string, uid: number): { before: Call[]; after: Call[] } {
  const lines = joined(trace);
  const cut = lines.findIndex(line => new RegExp(`^setresuid\\(${uid}, ${uid}, ${uid}\\) += 0`).test(line));
  if (cut === -1) throw new Error('root was never given up');
  // The program begins with the last execve: before it are the tools that started it.
  const start = lines.findLastIndex((line, i) => i < cut && line.startsWith('execve('));
  return { before: lines.slice(start + 1, cut).flatMap(read), after: lines.slice(cut + 1).flatMap(read) };
}

/** Calls that were interrupted by other threads' are put together again; each without the thread's id. */
function joined(trace: string): string[] {
  const pending = new Map<string, string>();
  return trace.split('\n').flatMap(line => {
    const [, thread = '', text = ''] = /^(\d+) +(.*)$/.exec(line) ?? [];
    const cut = /^(.*?) ?<unfinished \.\.\.>$/.exec(text);
    if (cut) {
      pending.set(thread, cut[1]!);
      return [];
    }
    const rest = /^<\.\.\. \w+ resumed>(.*)$/.exec(text);
    return rest ? [`${pending.get(thread) ?? ''}${rest[1]}`] : [text];
  });
}

function read(text: string): Call[] {
  const [, call] = /^(\w+)\(/.exec(text) ?? [];
  if (call === undefined) return [];
  const path = [...text.matchAll(/"([^"]*)"/g)].at(-1)?.[1] ?? '';
  const opened = /O_WRONLY|O_RDWR|O_CREAT|O_TRUNC/.test(text) && call.startsWith('open');
  return [{ call, path, text, changes: (opened || CHANGING.has(call)) && !/ = -1 /.test(text) }];
}
