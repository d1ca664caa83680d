/**
 * What crypt(5) strings look like: whole ones of the methods in use, what a check of them costs, and
 * the same setting with another salt. crypt(3) itself decides what is a hash; this is for naming bad
 * lines, for stand-ins that cost the same, and for refusing a cost that nobody meant.
 */

/** As in scram-keys.ts: a few seconds of one processor. */
const MAX_ROUNDS = 5_000_000;
/** 2^15 is 1.5 s. */
const MAX_BCRYPT = 15;
const MAX_SUNMD5 = 500_000;

/** crypt(5): the whole strings. yescrypt and scrypt with what crypt_gensalt(3) makes, up to its highest cost: 1 GiB. */
const WELL_FORMED = [
  /^\$g?y\$j[./0-9A-F][./0-9A-T]\$[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}$/,
  /^\$7\$[./0-9A-G][./0-9A-U]\.{4}[./]\.{4}[./A-Za-z0-9]{0,86}\$[./A-Za-z0-9]{43}$/,
  /^\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}$/,
  /^\$6\$(rounds=[1-9][0-9]{0,8}\$)?[^$:]{1,16}\$[./A-Za-z0-9]{86}$/,
  /^\$5\$(rounds=[1-9][0-9]{0,8}\$)?[^$:]{1,16}\$[./A-Za-z0-9]{43}$/,
  /^\$1\$[^$:]{1,8}\$[./A-Za-z0-9]{22}$/,
  /^\$sha1\$[1-9][0-9]{0,9}\$[./A-Za-z0-9]{1,64}\$[./A-Za-z0-9]{28}$/,
  /^\$md5(,rounds=[1-9][0-9]{0,9})?\$[./A-Za-z0-9]{1,16}\${1,2}[./A-Za-z0-9]{22}$/,
  /^_[./0-9A-Za-z]{19}$/,
];

/** Whether it could be the output of crypt(3): of some method, known or not. */
export function isCryptString(text: string): boolean {
  return /^(\$[\x21-\x7e]+|_[./0-9A-Za-z]{19})$/.test(text) || isBigcrypt(text);
}

/** Whole and of a known method, so that crypt(3) can fail on it only for want of something. */
export function isWellFormed(hash: string): boolean {
  return WELL_FORMED.some(form => form.test(hash));
}

/** Whether one check would take so long, or so much memory, that the number must be a mistake. */
export function costsTooMuch(hash: string): boolean {
  const rounds = Number(/^\$[56]\$rounds=(\d+)\$|^\$sha1\$(\d+)\$/.exec(hash)?.slice(1).join(''));
  const bcrypt = Number(/^\$2[abxy]\$(\d\d)\$/.exec(hash)?.[1]);
  const sunMd5 = Number(/^\$md5,rounds=(\d+)\$/.exec(hash)?.[1]);
  if (rounds > MAX_ROUNDS || bcrypt > MAX_BCRYPT || sunMd5 > MAX_SUNMD5) return true;
  return /^\$(?:g?y|7)\$/.test(hash) && !isWellFormed(hash) && isMemoryHard(hash);
}

/** Whole but for the cost: what is not even that, crypt(3) refuses at once. */
function isMemoryHard(hash: string): boolean {
  return /^\$(?:g?y\$[./A-Za-z0-9]+\$[./A-Za-z0-9]{0,86}|7\$[./A-Za-z0-9]{11,97})\$[./A-Za-z0-9]{43}$/.test(
    hash,
  );
}

/** Method and cost: two hashes with the same take about the same time. */
export function costOfHash(hash: string): string | undefined {
  return /^\$(?:g?y|2[abxy]|sha1)\$[^$]*|^\$7\$.{11}|^\$[56]\$(?:rounds=\d+)?|^\$[^$]*|^_.{4}/.exec(
    hash,
  )?.[0];
}

/** The same method and cost with a salt and a hash of nothing: a setting to spend the same time with. */
export function maskHash(hash: string): string {
  const cost =
    /^\$7\$.{11}|^\$(?:g?y|2[abxy]|sha1)\$[^$]*|^\$[56]\$rounds=\d+|^\$[^$]*|^_.{4}|^/.exec(hash)?.[0] ?? '';
  return cost + hash.slice(cost.length).replace(/[^$]/g, '.');
}

/** bigcrypt: two characters of salt and 11 for each 8 octets of the password. */
function isBigcrypt(value: string): boolean {
  return /^[./0-9A-Za-z]{24,178}$/.test(value) && (value.length - 2) % 11 === 0;
}
