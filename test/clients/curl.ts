/** curl: one message a URL, written as it came. */
import { type Client, mailboxesBut } from './client.js';
import { Expected } from './expected.js';
import { mustRun } from './programs.js';
import { passwordOf, type RunningServer } from './server.js';

function url({ port, tls }: RunningServer, path: string): string {
  return `${tls?.how === 'implicit' ? 'pop3s' : 'pop3'}://${tls ? 'localhost' : '127.0.0.1'}:${port}/${path}`;
}

const as = (user: string, { tls }: RunningServer) => [
  ...['-sS', '-u', `${user}:${passwordOf(user)}`],
  ...(tls ? ['--ssl-reqd', '--cacert', tls.ca] : []),
];

export const CURL: Client = {
  name: 'curl',
  programs: ['curl'],
  form: 'wire',
  // For a message of no octets (grace) it prints a CRLF that was never sent.
  mailboxes: mailboxesBut('grace'),
  removes: [1, 4, 16],
  async download(server, user) {
    const listing = await mustRun('curl', [...as(user, server), url(server, '')]);
    const octets = [...listing.matchAll(/^(\d+) (\d+)\r\n/gm)].map(match => Number(match[2]));
    if (octets.join() !== new Expected(user).octets.join()) throw new Error(`scan listing: ${listing}`);
    // One session for all, so that the output must be cut by the octets of the scan listing.
    const all = await mustRun('curl', [...as(user, server), url(server, `[1-${octets.length}]`)]);
    let at = 0;
    const messages = octets.map(count => {
      at += count;
      return all.slice(at - count, at);
    });
    if (at !== all.length) throw new Error(`${all.length} octets came, ${at} were promised`);
    return messages;
  },
  async remove(server, user, numbers) {
    // -l: no message follows the reply to DELE.
    const urls = numbers.map(n => url(server, String(n)));
    await mustRun('curl', [...as(user, server), '-l', '-X', 'DELE', ...urls]);
  },
};
