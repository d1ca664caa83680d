/** unix-crypt-td-js has no types of its own. */
declare module 'unix-crypt-td-js' {
  /**
   * DES crypt(3). It "hashes" with any salt, so the caller checks the salt first.
   * @param salt the stored hash or its first two characters
   */
  export default function crypt(password: ArrayLike<number>, salt: string): string;
}
