/**
 * Where a user's journal is: `STATE/USER`. The names of our own files there are set apart, since a user may
 * have one of them: such a user's directory ends in `%`, which no user name does.
 */

const OURS: ReadonlySet<string> = new Set(['model', 'run', 'cache']);

/** The directory of a user. */
export function userStateDir(stateDir: string, user: string): string {
  return `${stateDir}/${OURS.has(user) ? `${user}%` : user}`;
}

/** The user of a directory in STATE. */
export function userOfStateDir(name: string): string {
  return name.endsWith('%') ? name.slice(0, -1) : name;
}
