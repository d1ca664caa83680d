/**
 * Keeps certificates as fresh as their files: chokidar watches the directories, through symbolic links, as certbot
 * and Kubernetes replace those; once a day it looks all the same, and tells what ends soon.
 *
 * A certificate and its key are two files, replaced one after the other: only what stays wrong is an error.
 */
import { lstatSync, readlinkSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import type { FSWatcher } from 'chokidar';
import { errnoOf } from '../errors.js';
import type { Log } from '../log.js';
import { type Certificates, whyKept } from './certificates.js';
import { type CertificateFiles, readPemPair } from './pem-files.js';

/** Milliseconds of quiet before changed files are read. */
const SETTLE = 300;
/** Milliseconds after which files that could not be used are looked at again, and then reported. */
const SECOND_LOOK = 2000;
const DAY = 86_400_000;
/** As many as the kernel follows. */
const MAX_LINKS = 40;

export class CertificateWatch {
  #watcher: FSWatcher | undefined;
  #timer: NodeJS.Timeout | undefined;
  #daily: NodeJS.Timeout | undefined;
  /** The files, and what stands on the way to them, symbolic link by symbolic link. */
  #paths: ReadonlySet<string> = new Set();
  #directories: ReadonlySet<string> = new Set();
  /** What the files were when they were read. */
  #seen: string | undefined;
  /** Logged once, not at each look. */
  #failure: string | undefined;

  constructor(
    private readonly certificates: Pick<Certificates, 'use' | 'warn'>,
    private readonly files: readonly CertificateFiles[],
    private readonly log: Log,
  ) {}

  async start(): Promise<void> {
    const { watch } = await import('chokidar');
    this.#seen = this.#identity();
    this.#follow();
    this.#watcher = watch([...this.#directories], {
      depth: 0,
      ignoreInitial: true,
      persistent: false,
      // `..data` and the like are what Kubernetes replaces.
      ignored: path =>
        !this.#directories.has(path) && !this.#paths.has(path) && !basename(path).startsWith('..'),
    });
    // At `ready` too: what changed before that gives no event.
    this.#watcher.on('ready', () => this.#soon()).on('all', () => this.#soon());
    this.#watcher.on('error', error => {
      const reason = error instanceof Error ? error.message : String(error);
      this.log.write('warn', '-', 'certificate-not-watched', { reason });
    });
    this.#daily = setInterval(() => {
      this.#look(undefined);
      this.certificates.warn();
    }, DAY).unref();
  }

  /** Reads the files now, because somebody said so; says in the log what became of it. */
  reload(): void {
    this.#failure = undefined;
    if (this.#look(undefined) === 'same') this.log.write('info', '-', 'certificates-unchanged');
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer);
    clearInterval(this.#daily);
    await this.#watcher?.close();
  }

  #soon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const now = this.#identity();
      // Files that we may not even look at any more are not news; `reload` says it.
      if (now === undefined || now === this.#seen) return;
      this.#look(() => {
        this.#timer = setTimeout(() => this.#look(undefined), SECOND_LOOK).unref();
      });
    }, SETTLE).unref();
  }

  /** @param patience called instead of reporting a failure */
  #look(patience: (() => void) | undefined): 'new' | 'same' | 'kept' {
    this.#seen = this.#identity();
    try {
      const changed = this.certificates.use(this.files.map(readPemPair));
      if (this.#failure !== undefined && !changed) this.log.write('info', '-', 'certificates-back');
      this.#failure = undefined;
      if (changed) {
        // New files may stand in new directories.
        this.#follow();
        this.#watcher?.add([...this.#directories, ...this.#paths]);
      }
      return changed ? 'new' : 'same';
    } catch (error) {
      const reason = whyKept(error);
      if (patience) patience();
      else if (reason !== this.#failure) {
        this.#failure = reason;
        this.log.write('error', '-', 'certificate-kept', { reason });
      }
      return 'kept';
    }
  }

  /** Changes whenever a file does, or is replaced; undefined when that cannot be told. */
  #identity(): string | undefined {
    try {
      const stats = this.files
        .flatMap(({ cert, key }) => [cert, key])
        .map(file => statSync(file, { bigint: true, throwIfNoEntry: false }));
      return stats
        .map(stat => stat && [stat.dev, stat.ino, stat.size, stat.mtimeNs, stat.ctimeNs].join(':'))
        .join();
    } catch (error) {
      if (errnoOf(error) !== undefined) return undefined;
      throw error;
    }
  }

  /** Notes what is to be watched. */
  #follow(): void {
    const paths = new Set<string>();
    for (const file of this.files.flatMap(({ cert, key }) => [cert, key])) {
      let path: string | undefined = resolve(file);
      for (let links = 0; path !== undefined && links < MAX_LINKS; links++) {
        paths.add(path);
        path = target(path);
      }
    }
    this.#paths = paths;
    this.#directories = new Set([...paths].map(path => dirname(path)));
  }
}

/** What a symbolic link points to; undefined for anything else. */
function target(path: string): string | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? resolve(dirname(path), readlinkSync(path)) : undefined;
  } catch (error) {
    // Gone, or not for us to see: the next look says so.
    if (errnoOf(error) !== undefined) return undefined;
    throw error;
  }
}
