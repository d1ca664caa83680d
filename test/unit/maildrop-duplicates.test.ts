/** Which messages are read to see whether a deleted one was identical to one that stays. */
import { expect, test } from 'vitest';
import { alikeIn } from '../../lib/maildrop/duplicates.js';
import { Scanner } from '../../lib/mbox/scanner.js';

const DATE = 'Mon Jan  5 10:00:00 2026';

function alike(messages: readonly string[], marked: readonly number[]): number[] {
  const scanner = new Scanner();
  scanner.push(Buffer.from(messages.join('')));
  const index = scanner.end();
  expect(index.messages).toBe(messages.length);
  return [...alikeIn(index, new Set(marked))];
}

function message(sender: string, body: string, date = DATE): string {
  return `From ${sender} ${date}\nSubject: x\n\n${body}\n\n`;
}

test('those with the same From_ line and a body of the same length, if some go and some stay', () => {
  const twin = message('a@x.example', 'twin');
  const messages = [
    twin,
    message('a@x.example', 'longer'),
    message('b@x.example', 'twin'),
    twin,
    message('a@x.example', 'twin', 'Mon Jan  5 10:00:01 2026'),
  ];
  expect(alike(messages, [1])).toEqual([1, 4]);
  expect(alike(messages, [4, 2])).toEqual([1, 4]);
  expect(alike(messages, [1, 4])).toEqual([]);
  expect(alike(messages, [2, 3, 5])).toEqual([]);
});

test('also if one has the line ends of a mail program for DOS', () => {
  const twin = message('a@x.example', 'twin');
  const other = message('carol@x.example', 'twin');
  expect(alike([twin, other, twin.replaceAll('\n', '\r\n')], [1])).toEqual([1, 3]);
  expect(alike([twin.replaceAll('\n', '\r\n'), other, twin], [1])).toEqual([1, 3]);
});
