/**
 * What mail readers keep in a mailbox file about its messages: header fields such as `Status`, and the
 * FOLDER INTERNAL DATA message of Pine, UW IMAP and Dovecot. POP3 clients see neither (a served
 * `Status: RO` makes some show new mail as read), and both stay in the file byte for byte.
 */
import { findLf } from './bytes.js';
import { FieldNames } from './header-filter.js';

/** Fields that mail readers keep for themselves. */
export const METADATA = [
  'Status',
  'X-Status',
  'X-Keywords',
  'X-UID',
  'X-IMAP',
  'X-IMAPbase',
  'Content-Length',
];

/** Fields that no client is sent. */
export const METADATA_FIELDS = new FieldNames(METADATA);

/** Fields that mail readers add to or change in a message that is otherwise the same. */
export const VOLATILE = [
  ...METADATA,
  'Lines',
  'X-UIDL',
  'X-Mozilla-Status',
  'X-Mozilla-Status2',
  'X-Mozilla-Keys',
];

export const VOLATILE_FIELDS = new FieldNames(VOLATILE);

/** Octets of a line that the detector looks at; longer than both lines it looks for. */
const DETECTED = 96;
const DETECTED_FIELDS = new FieldNames(['Subject', 'X-IMAP']);
const SUBJECT = /^subject:[ \t]*DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA[ \t\r]*$/i;

/**
 * Whether a header, pushed in any cutting, is that of a FOLDER INTERNAL DATA message: it has both an
 * X-IMAP field and that subject. Only the first message of a file can be one.
 */
export class FolderDataDetector {
  #line = '';
  #imap = false;
  #subject = false;

  get found(): boolean {
    return this.#imap && this.#subject;
  }

  push(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      const lf = findLf(bytes, at);
      const stop = lf < 0 || lf >= end ? end : lf;
      if (this.#line === '' && !DETECTED_FIELDS.mayBegin(bytes[at]!)) {
        // Not this line; what is still to come of it is not the start of another.
        if (stop === end) this.#line = '-';
        at = stop + 1;
        continue;
      }
      const room = DETECTED - this.#line.length;
      this.#line += bytes.toString('latin1', at, Math.min(stop, at + room));
      if (stop === end) return;
      if (/^x-imap:/i.test(this.#line)) this.#imap = true;
      if (SUBJECT.test(this.#line)) this.#subject = true;
      this.#line = '';
      at = stop + 1;
    }
  }
}
