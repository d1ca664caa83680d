/**
 * A crash between any two calls of an UPDATE, by an I/O interface that does nothing more after the K-th
 * call: the next opening finishes it. The mailbox is longer than one write, and no write of it may leave
 * a sector that is half old and half new.
 */
import { expect, test } from 'vitest';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { MOVE_CHUNK } from '../../lib/maildrop/ranges.js';
import { message, messages, spoolWith } from '../support/mailbox.js';
import { openAlice } from '../support/maildrop.js';

/** Calls that change something. */
const CHANGES = ['write', 'truncate', 'sync', 'rename', 'unlink', 'mkdir', 'setTimes'] as const;

/** The real disk up to the `last`-th change; from then on every change fails, as if the process were gone. */
function ioUntil(last: number): { io: SpoolIo; changes: () => number } {
  let changes = 0;
  const alive =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (++changes > last) throw new Error('crashed');
      return call(...args);
    };
  const io = { ...nodeIo };
  for (const name of CHANGES) Object.assign(io, { [name]: alive(nodeIo[name] as () => Promise<unknown>) });
  return { io, changes: () => changes };
}

test.each([
  { what: 'small messages', content: messages(9), deleted: [1, 4] },
  {
    what: 'messages longer than a write',
    content: [message('a'), message('b', 'long line\n'.repeat(MOVE_CHUNK / 8)), message('c'), message('d')],
    deleted: [1, 3],
  },
])('a crash at any call of an UPDATE of $what is made good', async ({ content, deleted }) => {
  const old = content.join('');
  const kept = content.filter((_, i) => !deleted.includes(i + 1)).join('');
  for (let last = 0, crashed = true; crashed; last++) {
    const spool = spoolWith(old);
    const { io, changes } = ioUntil(last);
    const session = await openAlice(spool, { io }).catch(() => undefined);
    for (const n of session === undefined ? [] : deleted) await session?.mark(n);
    const outcome = await session?.update().then(
      () => 'ok',
      () => 'err',
    );
    crashed = changes() > last;

    await (await openAlice(spool)).release();
    const images = outcome === 'ok' ? [kept] : [old, kept];
    expect(images.includes(spool.content()), `crash after change ${last}`).toBe(true);
  }
});
