/**
 * What the fields of a shadow(5) entry mean for a POP3 login, beside the password itself. In doubt the
 * rules are those of pam_unix (check_shadow_expiry), so that a host says here what it says at login.
 *
 * Invariant: whoever login(1) would make change the password first is refused: POP3 cannot change it.
 */

/** Days; empty fields, and -1 as in struct spwd, are undefined. */
interface Ageing {
  readonly lastChange: number | undefined;
  readonly max: number | undefined;
  readonly inactive: number | undefined;
  readonly expire: number | undefined;
}

const SHADOW_FIELDS = 9;

/**
 * Why nobody may log in by this entry, whatever the password, or undefined. For the log only.
 * @param fields the nine of shadow(5)
 * @param today whole days since 1970-01-01 UTC
 */
export function shadowProblem(fields: readonly string[], today: number): string | undefined {
  const ageing = readAgeing(fields);
  if (ageing === undefined) return 'shadow entry malformed';
  const { expire } = ageing;
  // An expiry day of 0 is one by pam_unix; the manual page calls it ambiguous.
  if (expire !== undefined && today >= expire) return 'account expired';
  return ageProblem(ageing, today);
}

function ageProblem({ lastChange, max, inactive }: Ageing, today: number): string | undefined {
  if (lastChange === 0) return 'password must be changed';
  // Changed in the future: somebody's clock was wrong. As in pam_unix that is no reason to lock out.
  if (max === undefined || (lastChange !== undefined && lastChange > today)) return undefined;
  // Never changed, says an empty field; so with a maximum it is as old as the calendar.
  const age = today - (lastChange ?? -1);
  if (age <= max) return undefined;
  return inactive !== undefined && age > max + inactive
    ? 'password expired, inactive'
    : 'password expired, must be changed';
}

function readAgeing(fields: readonly string[]): Ageing | undefined {
  const numbers = fields.slice(2, 8);
  if (fields.length !== SHADOW_FIELDS || !numbers.every(field => /^(-?[0-9]{1,15})?$/.test(field))) {
    return undefined;
  }
  const [lastChange, , max, , inactive, expire] = numbers.map(field =>
    field === '' || field === '-1' ? undefined : Number(field),
  );
  return { lastChange, max, inactive, expire };
}
