/** A disk of our own that can be filled to the last block: a tmpfs, whose size can be changed while it is used. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

export const PAGE = 4096;

export class SmallDisk {
  private constructor(readonly dir: string) {}

  /** Mounts one until the tests of the file are done. @returns undefined where we may not: only root can */
  static mount(): SmallDisk | undefined {
    const dir = mkdtempSync(join(tmpdir(), 'mbox-pop3d-full-'));
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', dir]).status === 0;
    if (!mounted) process.stderr.write('SKIPPED: disk full: only root can mount a tmpfs\n');
    afterAll(() => {
      if (mounted) execFileSync('umount', [dir]);
      rmSync(dir, { recursive: true });
    });
    return mounted ? new SmallDisk(dir) : undefined;
  }

  /** Room for anything. */
  enlarge(): void {
    this.#resize(16 * 1024 * 1024);
  }

  /** Room for `pages` more than it holds. */
  fill(pages = 0): void {
    const lines = execFileSync('df', ['--block-size=1', '--output=used', this.dir], { encoding: 'utf8' });
    this.#resize(Number(lines.trim().split('\n').pop()) + pages * PAGE);
  }

  /** Whether not an octet more can be written. */
  isFull(): boolean {
    const path = join(this.dir, 'more');
    try {
      writeFileSync(path, 'x');
      return false;
    } catch (error) {
      return (error as NodeJS.ErrnoException).code === 'ENOSPC';
    } finally {
      rmSync(path, { force: true });
    }
  }

  #resize(octets: number): void {
    execFileSync('mount', ['-o', `remount,size=${octets}`, this.dir]);
  }
}
