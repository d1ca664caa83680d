/**
 * syslog(3), facility mail, by the C library's own functions: what a process that inetd started logs to,
 * since its standard error is the client's connection.
 *
 * C8: a line is an argument of "%s", never the format.
 */
import { libc } from './libc.js';

const LOG_PID = 0x01;
const LOG_NDELAY = 0x08;
const LOG_MAIL = 2 << 3;

/** The C string that openlog(3) keeps a pointer to; never freed, as syslog(3) may use it for ever. */
const strdup = libc.func('strdup', 'void *', ['str']) as (text: string) => unknown;
const openlog = libc.func('openlog', 'void', ['void *', 'int', 'int']);
const syslogVariadic = libc.func('syslog', 'void', ['int', 'str', '...']);

/** The contract is `Host.openSyslog`. */
export function openSyslog(ident: string): void {
  openlog(strdup(ident), LOG_PID | LOG_NDELAY, LOG_MAIL);
}

/** The contract is `Host.syslog`. */
export function syslog(priority: number, line: string): void {
  if (!Number.isInteger(priority) || priority < 0 || priority > 7) {
    throw new RangeError(`no syslog priority: ${priority}`);
  }
  // The facility each time: openSyslog may not have been called.
  syslogVariadic(LOG_MAIL | priority, '%s', 'str', line);
}
