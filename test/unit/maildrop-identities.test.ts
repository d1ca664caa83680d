/** What is read for unique-ids: of mail in memory the samples alone, and the same ids whatever is in memory. */
import { readSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { identitiesOf } from '../../lib/maildrop/identities.js';
import { nodeIo, type SpoolIo } from '../../lib/maildrop/io.js';
import { MailboxFile } from '../../lib/maildrop/mailbox-file.js';
import type { Kernel } from '../../lib/mbox/kernel/kernel.js';
import { hexadecimal } from '../../lib/mbox/unique-id.js';
import { message, spoolWith } from '../support/mailbox.js';
import { requireKernel } from '../support/oracle-tools.js';

const KiB = 1024;

/** Bodies from nothing to more than what is read at a time; some headers are long, some lines end in CRLF. */
const SIZES = [0, 1, 100, 511, 512, 513, 1023, 1024, 1025, 5000, 9000, 9500, 70_000, 300_000, 20, 20, 8192];
const mail = SIZES.map((size, i) => {
  const body = `${'text '.repeat(13)}\n`.repeat(Math.ceil(size / 66)).slice(0, size);
  const one = message(i, body.endsWith('\n') || body === '' ? body : `${body}\n`);
  const long =
    i % 5 === 4 ? one.replace('Subject:', `X-Long: ${'x'.repeat(20 * KiB)}\nStatus: RO\nSubject:`) : one;
  return i % 4 === 3 ? long.replaceAll('\n', '\r\n') : long;
});
const huge = message('huge header').replace(
  'Subject:',
  `${`X-Field: ${'y'.repeat(990)}\n`.repeat(400)}Subject:`,
);
const content = [...mail, huge, ...mail.map((one, i) => one.replaceAll(`<${i}@`, `<${i + 100}@`))].join('');

async function opened(io: SpoolIo, kernel?: Kernel) {
  const spool = spoolWith(content);
  const options = { owner: process.geteuid!(), writable: false, kernel };
  const file = await MailboxFile.open(io, spool.mailbox, options);
  return { spool, file: file!, index: await file!.scan() };
}

async function idsBy(io: SpoolIo, kernel?: Kernel): Promise<string[]> {
  const { file, index } = await opened(io, kernel);
  try {
    return hexadecimal(await identitiesOf(file, index));
  } finally {
    await file.close();
  }
}

/** All is in memory, or as much of it as `most` lets be. */
function cachedIo(most: (length: number) => number | undefined = length => length) {
  let octets = 0;
  let others = 0;
  const readCached = (fd: number, into: Uint8Array, position: number) => {
    const length = most(into.length);
    if (length === undefined) return undefined;
    const count = readSync(fd, into, 0, length, position);
    octets += count;
    return count;
  };
  const read: SpoolIo['read'] = async (fd, into, position) => {
    const count = await nodeIo.read(fd, into, position);
    others += count;
    return count;
  };
  const io: SpoolIo = { ...nodeIo, read, readCached };
  return {
    io,
    /** Since the last call. */
    counts() {
      const counts = { octets, others };
      [octets, others] = [0, 0];
      return counts;
    },
  };
}

test('the same identities by the disk and by memory, by the kernel and by its twin', async () => {
  const ids = await idsBy(nodeIo);
  expect(new Set(ids).size).toBe(2 * SIZES.length + 1);
  for (const kernel of [undefined, requireKernel()]) {
    expect(await idsBy(nodeIo, kernel)).toEqual(ids);
    expect(await idsBy(cachedIo().io, kernel)).toEqual(ids);
  }
});

test('of what is in memory, long bodies are left out, and nothing is asked of the disk', async () => {
  const { io, counts } = cachedIo();
  const { file, index } = await opened(io, requireKernel());
  expect(counts().octets).toBe(content.length);
  await identitiesOf(file, index);
  const { octets, others } = counts();
  // The one whose header is larger than what is read at a time.
  expect(others).toBeLessThan(huge.length + KiB);
  expect(octets).toBeLessThan(content.length / 3);
  await file.close();
});

test.each<[string, (length: number) => number | undefined]>([
  ['nothing', () => undefined],
  ['all but the last octet', length => length - 1 || undefined],
  ['half', length => Math.ceil(length / 2)],
])('what is in memory of each read: %s', async (_, most) => {
  const { io } = cachedIo(most);
  expect(await idsBy(io, requireKernel())).toEqual(await idsBy(nodeIo));
});

test('what is in memory now and then', async () => {
  const ids = await idsBy(nodeIo);
  for (let every = 1; every < 6; every++) {
    let calls = 0;
    const { io } = cachedIo(length => (++calls % every === 0 ? undefined : length));
    expect(await idsBy(io, requireKernel())).toEqual(ids);
  }
});

/** Leases whatever is free. */
function takeAll({ memory }: Kernel): Buffer[] {
  const slots: Buffer[] = [];
  for (let slot = memory.take(); slot !== undefined; slot = memory.take()) slots.push(slot);
  return slots;
}

test('where the kernel has no memory left, it does without', async () => {
  const kernel = requireKernel();
  const ids = await idsBy(nodeIo);
  const slots = takeAll(kernel);
  try {
    expect(await idsBy(cachedIo().io, kernel)).toEqual(ids);
  } finally {
    for (const slot of slots) kernel.memory.giveBack(slot);
  }
});

test.each(['<3@example', '<100@example', '<116@example'])(
  'a header that is not the one that was indexed, %s: an error, and the memory is given back',
  async text => {
    const kernel = requireKernel();
    const before = takeAll(kernel);
    for (const slot of before) kernel.memory.giveBack(slot);
    for (const io of [nodeIo, cachedIo().io]) {
      for (const by of [undefined, kernel]) {
        const { spool, file, index } = await opened(io, by);
        writeFileSync(spool.mailbox, content.replace(text, text.toUpperCase()));
        await expect(identitiesOf(file, index)).rejects.toMatchObject({ code: 'SYS/TEMP', fatal: true });
        writeFileSync(spool.mailbox, content.slice(0, content.indexOf(text)));
        await expect(identitiesOf(file, index)).rejects.toMatchObject({ code: 'SYS/TEMP', fatal: true });
        await file.close();
      }
    }
    const after = takeAll(kernel);
    for (const slot of after) kernel.memory.giveBack(slot);
    expect(after).toHaveLength(before.length);
  },
);
