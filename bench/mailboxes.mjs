/**
 * Mailboxes for the benchmark, the same ones each time: the sizes, headers and line lengths of ordinary mail (most of it
 * short text, some HTML-sized, few with attachments in base64), with lines that begin with a dot, and quoted From_
 * lines. A message costs a few copies, so that a gigabyte is written at the speed of the disk.
 */
import { closeSync, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';

/**
 * @typedef {object} Mailbox
 * @property {string} path
 * @property {number} messages
 * @property {number} octets
 * @property {number[]} starts offset of each From_ line
 */

const POOL = 1 << 20;
const CHUNK = 8 << 20;

/**
 * Ordinary mail, 18 KB a message on average.
 *
 * @returns {Mailbox}
 */
export function writeMail(path, messages, seed = 8) {
  const random = generator(seed);
  const [text, base64] = [textPool(random), base64Pool(random)];
  return write(path, messages, number => {
    const kind = random();
    const attachment = kind < 0.0466 ? 60_000 + random() * 320_000 : 0;
    const words = kind > 0.75 ? 6_000 + random() * 28_000 : 400 + random() * 3_600;
    const parts = [Buffer.from(header(number, random)), slice(text, words, random)];
    if (attachment > 0) parts.push(ATTACHMENT, slice(base64, attachment, random), END);
    return parts;
  });
}

/** @returns {Mailbox} messages of some 250 octets */
export function writeTinyMail(path, messages) {
  return write(path, messages, number => [
    Buffer.from(
      `From cron@example.net ${DATE}\nReceived: by mx.example.org id ${number.toString(36)};\n\t${RFC_DATE}\nFrom: cron@example.net\nTo: root@example.org\nDate: ${RFC_DATE}\nMessage-ID: <${number}@example.net>\nSubject: Job ${number}\n\nDone.\n`,
    ),
  ]);
}

/** @returns {Mailbox} the same messages with CRLF line ends */
export function writeWithCrlf(path, { path: original, messages }) {
  const octets = Buffer.from(readFileSync(original, 'latin1').replaceAll('\n', '\r\n'), 'latin1');
  writeFileSync(path, octets, { flag: 'wx', mode: 0o660 });
  return { path, messages, octets: octets.length, starts: [] };
}

/** One more message, as a delivery agent would append it. */
export function delivery(number) {
  const random = generator(number + 7);
  return Buffer.concat([Buffer.from(header(1e9 + number, random)), Buffer.from('A short note.\n\n')]);
}

function write(path, messages, partsOf) {
  const fd = openSync(path, 'wx', 0o660);
  const starts = [];
  let octets = 0;
  let chunk = [];
  let size = 0;
  for (let number = 1; number <= messages; number++) {
    starts.push(octets + size);
    for (const part of [...partsOf(number), NEWLINE]) {
      chunk.push(part);
      size += part.length;
    }
    if (size >= CHUNK || number === messages) {
      writeSync(fd, Buffer.concat(chunk));
      octets += size;
      [chunk, size] = [[], 0];
    }
  }
  fsyncSync(fd);
  closeSync(fd);
  return { path, messages, octets, starts };
}

const NEWLINE = Buffer.from('\n');
const DATE = 'Mon Jan  5 10:00:00 2026';
const RFC_DATE = 'Mon, 05 Jan 2026 10:00:00 +0000';
const ATTACHMENT = Buffer.from(
  '\n--=_boundary\nContent-Type: application/pdf; name="report.pdf"\nContent-Transfer-Encoding: base64\n\n',
);
const END = Buffer.from('\n--=_boundary--\n');

/** From_ line, header and the empty line after it, some 1.6 KB. */
function header(number, random) {
  const id = `${number.toString(36)}.${Math.floor(random() * 2 ** 32).toString(16)}`;
  const signature = Array.from({ length: 5 }, () => `\t${letters(random, 68)}`).join('\n');
  const received = ['mx.example.org', 'relay.example.net', 'out.example.net'].map(
    (host, hop) =>
      `Received: from host${Math.floor(random() * 256)}.example.net (host.example.net [192.0.2.${number % 256}])\n\tby ${host} (Postfix) with ESMTPS id ${hop}${id}\n\tfor <user@example.org>; ${RFC_DATE}\n`,
  );
  return `From sender${number % 977}@example.net ${DATE}
Return-Path: <sender${number % 977}@example.net>
Delivered-To: user@example.org
${received.join('')}DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=mail;
	h=from:to:subject:date:message-id; bh=${letters(random, 43)}=;
	b=${letters(random, 60)}
${signature}
From: Sender ${number % 977} <sender${number % 977}@example.net>
To: User <user@example.org>
Subject: Report ${number} of the ${letters(random, 12)} meeting
Date: ${RFC_DATE}
Message-ID: <${id}@example.net>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_boundary"
List-Unsubscribe: <https://lists.example.net/unsubscribe/${letters(random, 32)}>
X-Mailer: Example Mailer 4.${number % 10}

`;
}

/** Whole lines of a pool, about as many octets as asked for. */
function slice({ octets, lines }, length, random) {
  const first = Math.floor((random() * lines.length) / 4);
  const from = lines[first];
  const end = octets.indexOf(10, Math.min(from + length, octets.length - 1));
  return octets.subarray(from, end < 0 ? octets.length : end + 1);
}

function textPool(random) {
  return pool(() => {
    const kind = random();
    if (kind < 0.004) return '.';
    if (kind < 0.006) return `..${letters(random, 9)}`;
    if (kind < 0.007) return '>From here on it is quoted.';
    if (kind < 0.12) return '';
    let line = '';
    const width = 30 + random() * 46;
    while (line.length < width) line += `${letters(random, 2 + random() * 9)} `;
    return line.trimEnd() + (kind < 0.3 ? '.' : '');
  });
}

function base64Pool(random) {
  return pool(() => letters(random, 76));
}

function pool(line) {
  let text = '';
  const lines = [];
  while (text.length < POOL) {
    lines.push(text.length);
    text += `${line()}\n`;
  }
  return { octets: Buffer.from(text), lines };
}

function letters(random, count) {
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
  let text = '';
  for (let n = Math.floor(count); n > 0; n--) text += alphabet[Math.floor(random() * alphabet.length)];
  return text;
}

/** mulberry32: numbers in [0, 1), the same for the same seed everywhere. */
function generator(seed) {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
