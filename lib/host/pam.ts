/**
 * PAM: authentication and account stages for one user, through libpam. Called only in processes that do
 * nothing else (pam-worker.ts), because a module may wait for ever, crash, or change the process.
 *
 * Invariants: only a prompt without echo is answered, with the password; what modules say is dropped; no
 * password is ever changed here. Linux-PAM's constants: it is what Linux has.
 */
import koffi from 'koffi';
import type { PamAnswer, PamQuestion } from './pam-frames.js';

const PAM_SUCCESS = 0;
const PAM_BUF_ERR = 5;
const PAM_CONV_ERR = 19;
const PAM_PROMPT_ECHO_OFF = 1;
const PAM_PROMPT_ECHO_ON = 2;
/** PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK */
const FLAGS = 0x8001;
const ITEM = { USER: 2, TTY: 3, RHOST: 4, FAIL_DELAY: 10 } as const;

/**
 * What is about this user and this password: PERM_DENIED, AUTH_ERR, USER_UNKNOWN, MAXTRIES,
 * NEW_AUTHTOK_REQD (which POP3 cannot ask for), ACCT_EXPIRED, CRED_EXPIRED, AUTHTOK_EXPIRED. All others are about the host.
 */
const REFUSALS: ReadonlySet<number> = new Set([6, 7, 10, 11, 12, 13, 16, 27]);

/** `struct pam_message` and `struct pam_response`: an int and a pointer, a pointer and an int. */
const POINTER = 8;
const RESPONSE = 16;
/** PAM_MAX_NUM_MSG */
const MAX_MESSAGES = 32;

const libc = koffi.load(null);
const libpam = koffi.load('libpam.so.0');

type Pointer = bigint;
type Handle = Pointer;

const conversation = koffi.proto('int pam_conversation(int, void *, void *, void *)');
const delay = koffi.proto('void pam_delay(int, unsigned int, void *)');
const pamConv = koffi.struct({ conv: koffi.pointer(conversation), appdata_ptr: 'void *' });
const handleOut = koffi.out(koffi.pointer('void *'));

const calloc = libc.func('void *calloc(size_t, size_t)') as (count: number, size: number) => Pointer | null;
const free = libc.func('void free(void *)') as (memory: Pointer | null) => void;
const memcpy = libc.func('void *memcpy(void *, void *, size_t)') as (
  to: Pointer,
  from: Uint8Array,
  length: number,
) => Pointer;
const memset = libc.func('void *memset(void *, int, size_t)') as (
  at: Pointer,
  octet: number,
  length: number,
) => Pointer;

const start = libpam.func('pam_start', 'int', ['str', 'str', koffi.pointer(pamConv), handleOut]) as (
  service: string,
  user: string,
  conv: { conv: unknown; appdata_ptr: null },
  handle: (Handle | null)[],
) => number;
const end = libpam.func('int pam_end(void *, int)') as (handle: Handle, status: number) => number;
type Stage = (handle: Handle, flags: number) => number;
const authenticate = libpam.func('int pam_authenticate(void *, int)') as Stage;
const acctMgmt = libpam.func('int pam_acct_mgmt(void *, int)') as Stage;
const setText = libpam.func('pam_set_item', 'int', ['void *', 'int', 'str']) as (
  handle: Handle,
  item: number,
  value: string,
) => number;
const setFunction = libpam.func('pam_set_item', 'int', ['void *', 'int', koffi.pointer(delay)]) as (
  handle: Handle,
  item: number,
  value: unknown,
) => number;
const getItem = libpam.func('pam_get_item', 'int', ['void *', 'int', handleOut]) as (
  handle: Handle,
  item: number,
  value: (Pointer | null)[],
) => number;
const strerror = libpam.func('str pam_strerror(void *, int)') as (handle: Handle, status: number) => string;

/** The failure delays of modules: a client waits for ours, and a process that sleeps is one less. */
const noDelay = koffi.register(() => {}, koffi.pointer(delay));

/**
 * Asks PAM. Takes as long as the modules take, and ends the process if one of them does.
 * @param service a file in /etc/pam.d
 */
export function askPam(service: string, { user, password, address }: PamQuestion): PamAnswer {
  const converse = koffi.register(answerWith(password), koffi.pointer(conversation));
  const handle: (Handle | null)[] = [null];
  let status = start(service, user, { conv: converse, appdata_ptr: null }, handle);
  try {
    if (status !== PAM_SUCCESS || handle[0] == null) return failed('pam_start', `error ${status}`);
    return stages(handle[0], address, result => {
      status = result;
    });
  } finally {
    if (handle[0] != null) end(handle[0], status);
    koffi.unregister(converse);
  }
}

/** @param note is told the result of the last call, for pam_end(3) */
function stages(handle: Handle, address: string, note: (status: number) => void): PamAnswer {
  const settings = [
    setText(handle, ITEM.RHOST, address),
    // Some modules refuse to work without any.
    setText(handle, ITEM.TTY, 'pop3'),
    setFunction(handle, ITEM.FAIL_DELAY, noDelay),
  ];
  const unset = settings.find(status => status !== PAM_SUCCESS);
  if (unset !== undefined) return failed('pam_set_item', strerror(handle, unset));
  const calls: [string, Stage][] = [
    ['pam_authenticate', authenticate],
    ['pam_acct_mgmt', acctMgmt],
  ];
  for (const [name, call] of calls) {
    const status = call(handle, FLAGS);
    note(status);
    if (REFUSALS.has(status)) return { verdict: 'refused', user: '', reason: strerror(handle, status) };
    if (status !== PAM_SUCCESS) return failed(name, strerror(handle, status));
  }
  const user: (Pointer | null)[] = [null];
  if (getItem(handle, ITEM.USER, user) !== PAM_SUCCESS || user[0] == null) return failed('pam_get_item', '');
  return { verdict: 'right', user: koffi.decode.string(user[0]), reason: '' };
}

function failed(call: string, why: string): PamAnswer {
  return { verdict: 'failed', user: '', reason: `${call}: ${why}` };
}

/** pam_conv(3): `messages` is an array of pointers in Linux-PAM; PAM frees what is answered. */
function answerWith(password: Uint8Array) {
  return (count: number, messages: Pointer, answers: Pointer): number => {
    if (count < 1 || count > MAX_MESSAGES) return PAM_CONV_ERR;
    const responses = calloc(count, RESPONSE);
    if (responses === null) return PAM_BUF_ERR;
    const made: Pointer[] = [];
    for (let i = 0; i < count; i++) {
      const message = koffi.decode(messages, i * POINTER, 'void *') as Pointer;
      const style = koffi.decode.int(message);
      if (style !== PAM_PROMPT_ECHO_OFF && style !== PAM_PROMPT_ECHO_ON) continue;
      // A question whose answer may be seen is not about a password.
      const copy = style === PAM_PROMPT_ECHO_OFF ? calloc(password.length + 1, 1) : null;
      if (copy === null) {
        for (const one of made) {
          memset(one, 0, password.length);
          free(one);
        }
        free(responses);
        return PAM_CONV_ERR;
      }
      memcpy(copy, password, password.length);
      made.push(copy);
      koffi.encode(responses, i * RESPONSE, 'void *', copy);
    }
    koffi.encode(answers, 'void *', responses);
    return PAM_SUCCESS;
  };
}
