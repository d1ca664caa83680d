/**
 * Behind a front end and behind each door: the PROXY header comes over a socket that a super-server has handed
 * over, and the log has the client's own address; a header from anywhere else is refused.
 */
import { expect } from 'vitest';
import { Pop3Client } from '../support/pop3-client.js';
import { header2 } from '../support/proxy-header.js';
import { testAsRoot } from './as-root.js';
import { DOORS, openDoor } from './doors.js';
import { SECRET } from './login.js';
import { ALICE, MAIL, MAIL_OF_ALICE, ScratchHost } from './scratch-host.js';

const V1 = Buffer.from('PROXY TCP4 203.0.113.7 198.51.100.1 50000 110\r\n');

for (const kind of DOORS) {
  testAsRoot([...kind.programs], kind.name, async () => {
    const host = await ScratchHost.create();
    const own = kind.model === 'per-user';
    host.fill('alice', MAIL_OF_ALICE.join(''), { uid: ALICE.uid, gid: MAIL }, own ? 0o600 : 0o660);
    const { port, said } = await openDoor(kind, host, ['--idle-exit=1', '--proxy-nets=127.0.0.2']);
    const from = async (localAddress: string, header: Uint8Array) => {
      const client = await Pop3Client.connect(port, { localAddress });
      client.send(Buffer.concat([header, Buffer.from(`USER alice\r\nPASS ${SECRET}\r\nQUIT\r\n`, 'latin1')]));
      return client.rest();
    };
    for (const header of [V1, header2()]) {
      const replies = await from('127.0.0.2', header);
      expect(replies).toMatch(
        /^\+OK mbox-pop3d[^\n]*\n\+OK[^\n]*\n\+OK maildrop has 5 [^\n]*\n\+OK[^\n]*\n$/,
      );
      expect(await from('127.0.0.3', header)).toMatch(
        /-ERR \[SYS\/PERM\] no PROXY header is taken [^\n]*\n$/,
      );
    }
    expect(await from('127.0.0.2', Buffer.alloc(0))).toBe('');
    const logged = async (line: RegExp) => {
      if (kind.logs === 'syslog') await host.logged(line);
      else while (!line.test(said())) await new Promise(resolve => setTimeout(resolve, 20));
    };
    await logged(/203\.0\.113\.7 login user=alice .* via=127\.0\.0\.2/);
    await logged(/127\.0\.0\.3 proxy-refused reason="not in proxy-nets"/);
    await logged(/127\.0\.0\.2 bad-proxy-header reason="no PROXY header"/);
  });
}
