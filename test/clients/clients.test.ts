/**
 * The main job, with the clients of a Debian host: every message arrives byte for byte, and after some
 * were deleted the mailbox file holds exactly the rest.
 */
import { describe, expect } from 'vitest';
import { CURL } from './curl.js';
import { Expected } from './expected.js';
import { FETCHMAIL, MPOP } from './fetchers.js';
import { PERL_NET_POP3, PYTHON_POPLIB } from './libraries.js';
import { testWith } from './programs.js';
import { MUTT, NAIL } from './readers.js';
import { startServer } from './server.js';

/** Sixteen messages. */
const VICTIM = 'judy';

describe.each([CURL, PYTHON_POPLIB, PERL_NET_POP3, FETCHMAIL, MPOP, MUTT, NAIL])('$name', client => {
  testWith(client.programs, `${client.name} downloads every message byte for byte`, async () => {
    const server = await startServer();
    for (const mailbox of client.mailboxes) {
      const expected = new Expected(mailbox);
      const messages = await client.download(server, mailbox);
      expect(messages.length, `messages of ${mailbox}`).toBe(expected.count);
      for (const [i, message] of messages.entries()) {
        // As latin1 text both, so that a difference is shown; equal text is equal octets.
        expect(message, `message ${i + 1} of ${mailbox}`).toBe(expected[client.form][i]);
      }
    }
    await server.stop();
    for (const mailbox of client.mailboxes) {
      // Nothing was deleted, so nothing may have been written.
      expect(server.mailbox(mailbox), `mailbox file of ${mailbox}`).toBe(new Expected(mailbox).file);
    }
  });

  testWith(client.programs, `${client.name} deletes some, exactly the rest stays`, async () => {
    const server = await startServer();
    await client.remove(server, VICTIM, client.removes);
    await server.stop();
    expect(server.mailbox(VICTIM)).toBe(new Expected(VICTIM).without(client.removes));
    expect(server.stderr()).toContain(`deleted=${client.removes.length} `);
  });
});
