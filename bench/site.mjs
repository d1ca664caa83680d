/**
 * The scratch host of the benchmark: accounts, one spool for each server, mailboxes. As root, servers run in mount
 * namespaces where its /etc and spool are (enter.sh); as an ordinary user there is only this server, on mailboxes of
 * one's own. All passwords are the same, and stored as the same DES hash for all servers.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  cpSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeTinyMail } from './mailboxes.mjs';

export const PASSWORD = 'sesame';
/** crypt(3) of the password, salt `ab`. */
const HASH = 'abnqrLigH.z/s';
/** Numbers that nobody has here, and `mail` of Debian. */
const OWNER = 62_001;
const MAIL = 8;
const ACCOUNTS = { dovecot: 62_002, dovenull: 62_003, popa3d: 62_004, spop3d: 62_005, 'mbox-pop3d': 62_006 };
/** Users u0, u1, ... with small mailboxes that every server has. */
const SMALL = 100;
const SMALL_MESSAGES = 3;

export class Site {
  root = mkdtempSync(join(process.env.MBOX_POP3D_BENCH_DIR ?? tmpdir(), 'mbox-pop3d-bench-'));
  isRoot = process.geteuid() === 0;
  etc = join(this.root, 'etc');
  /** The users file of this server. */
  users = join(this.root, 'users');
  #masters = new Map();

  constructor() {
    chmodSync(this.root, 0o755);
    for (const name of ['etc', 'etc/pam.d', 'log', 'masters']) mkdirSync(join(this.root, name));
    for (const name of ['ld.so.cache', 'ld.so.conf', 'ld.so.conf.d', 'services', 'protocols']) {
      if (existsSync(`/etc/${name}`))
        cpSync(`/etc/${name}`, join(this.etc, name), { dereference: true, recursive: true });
    }
    // A link stays one: of a file, Node.js looks through all time zones to tell which it is, 6 ms at the first date.
    if (existsSync('/etc/localtime'))
      cpSync('/etc/localtime', join(this.etc, 'localtime'), { verbatimSymlinks: true });
    this.#writeAccounts();
  }

  /** This host is as it was. */
  remove() {
    rmSync(this.root, { recursive: true, force: true });
  }

  /** @returns the spool of a server, with small mailboxes of one message */
  spool(server) {
    const spool = join(this.root, 'spools', server);
    if (existsSync(spool)) return spool;
    mkdirSync(spool, { recursive: true });
    if (this.isRoot) chownSync(spool, 0, MAIL);
    chmodSync(spool, 0o2775);
    const small = this.master('small', path => writeTinyMail(path, SMALL_MESSAGES));
    for (let n = 0; n < SMALL; n++) this.place(small, join(spool, `u${n}`));
    return spool;
  }

  /** A directory of a server's own. */
  directory(...names) {
    const path = join(this.root, ...names);
    mkdirSync(path, { recursive: true });
    return path;
  }

  log(name) {
    return join(this.root, 'log', name);
  }

  /** A mailbox that is written once and copied from then on. */
  master(name, write) {
    if (!this.#masters.has(name)) this.#masters.set(name, write(join(this.root, 'masters', name)));
    return this.#masters.get(name);
  }

  /** A line about each mailbox that was needed. */
  masters() {
    const format = new Intl.NumberFormat('en');
    return [...this.#masters].map(
      ([name, { messages, octets }]) =>
        `Mailbox ${name}: ${format.format(messages)} messages, ${format.format(octets)} octets.`,
    );
  }

  /** A fresh copy of a mailbox, on the disk, in the page cache. */
  place(mailbox, path) {
    this.#copy(mailbox, path);
    const fd = openSync(path, 'r+');
    fsyncSync(fd);
    closeSync(fd);
    age(path);
  }

  /**
   * A users file, and mailboxes in this server's spool, of more users than the peers have to search for in theirs. With
   * {PLAIN}, because it is not the time of so many logins that is measured.
   */
  addUsers(count) {
    const spool = this.spool('ours');
    const small = this.master('small', path => writeTinyMail(path, SMALL_MESSAGES));
    for (let n = SMALL; n < count; n++) this.#copy(small, join(spool, `u${n}`));
    const file = join(this.root, `users-${count}`);
    const lines = Array.from({ length: count }, (_, n) => `u${n}:{PLAIN}${PASSWORD}:${this.#ids}\n`);
    writeFileSync(file, lines.join(''));
    return file;
  }

  get #ids() {
    return this.isRoot ? `${OWNER}:${MAIL}` : `${process.geteuid()}:${process.getegid()}`;
  }

  #copy(mailbox, path) {
    rmSync(path, { force: true });
    copyFileSync(mailbox.path, path, constants.COPYFILE_FICLONE);
    chmodSync(path, 0o660);
    if (this.isRoot) chownSync(path, OWNER, MAIL);
  }

  #writeAccounts() {
    const names = ['big', 'huge', 'tiny', 'one', ...Array.from({ length: SMALL }, (_, n) => `u${n}`)];
    const home = this.directory('home');
    const passwd = [
      'root:x:0:0:root:/root:/bin/sh',
      'nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin',
      ...Object.entries(ACCOUNTS).map(
        ([name, id]) => `${name}:x:${id}:${id}::/nonexistent:/usr/sbin/nologin`,
      ),
      ...names.map(name => `${name}:x:${OWNER}:${MAIL}::${home}:/bin/sh`),
    ];
    const group = ['root:x:0:', `mail:x:${MAIL}:`, 'nogroup:x:65534:', 'shadow:x:42:'];
    for (const [name, id] of Object.entries(ACCOUNTS)) group.push(`${name}:x:${id}:`);
    const files = {
      passwd,
      group,
      shadow: ['root:*:20000:0:99999:7:::', ...names.map(name => `${name}:${HASH}:20000:0:99999:7:::`)],
      'nsswitch.conf': ['passwd: files', 'group: files', 'shadow: files', 'hosts: files'],
      hosts: ['127.0.0.1 localhost'],
      shells: ['/bin/sh'],
      'pam.d/other': ['auth required pam_unix.so', 'account required pam_unix.so'],
      'spop3d.conf': ['<Global>', 'MailDropName "/var/mail/%s"', 'MailDropType mailbox', '</Global>'],
      'dovecot-users': names.map(name => `${name}:{CRYPT}${HASH}:${OWNER}:${MAIL}::${home}::`),
    };
    for (const [name, lines] of Object.entries(files))
      writeFileSync(join(this.etc, name), `${lines.join('\n')}\n`);
    chmodSync(join(this.etc, 'shadow'), 0o640);
    if (this.isRoot) chownSync(home, OWNER, MAIL);
    writeFileSync(this.users, names.map(name => `${name}:${HASH}:${this.#ids}\n`).join(''));
  }
}

/** One octet of the first Subject is another: the same size, another time, as after a rewrite by a mail reader. */
export function change(path) {
  const fd = openSync(path, 'r+');
  const beginning = Buffer.alloc(16_384);
  const length = readSync(fd, beginning, 0, beginning.length, 0);
  const at = beginning.subarray(0, length).indexOf('\nSubject: ') + '\nSubject: '.length;
  writeSync(fd, beginning[at] === 0x52 ? 'S' : 'R', at);
  fsyncSync(fd);
  closeSync(fd);
}

/** Time for a change to be older than the clock of the file system can tell apart. */
export const SETTLED_MS = 50;

/**
 * Mail that has been there for a while, and is in the page cache: popa3d sleeps a second over a mailbox whose
 * modification time is this second.
 */
export function age(path) {
  const fd = openSync(path, 'r');
  const chunk = Buffer.alloc(1 << 20);
  while (readSync(fd, chunk) > 0); // Into the page cache.
  closeSync(fd);
  const then = Date.now() / 1000 - 10;
  utimesSync(path, then, then);
}
