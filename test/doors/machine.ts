/**
 * Boots a second systemd in namespaces of its own, over a throw-away copy of this host's root file system,
 * with the program installed; in-machine.sh then takes the README's way to set it up, and the others, each to mail
 * that is read and deleted. So the units run as they will: their account, file system, network, capabilities
 * and system call filter are the real ones of the service manager.
 */
import { execFile, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installInto } from '../support/installed.js';
import { IS_ROOT } from '../support/program.js';
import { filesOf } from '../support/tls/certificates.js';

const HERE = import.meta.dirname;
export const ETC = join(HERE, '../../etc');

/** Why no machine can be booted here, or undefined. */
export function whyNoMachine(): string | undefined {
  if (!IS_ROOT) return 'only root can boot a machine';
  const missing = ['systemd-nspawn', 'unshare', 'useradd'].filter(name => !isInstalled(name));
  // .ci/run installs them: there it is a failure.
  if (missing.length > 0 && process.env.CI !== 'true') return `not installed: ${missing.join(', ')}`;
  const mounts =
    'mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/r && ' +
    'mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r';
  const probe = spawnSync('unshare', ['--mount', 'sh', '-c', mounts], { encoding: 'utf8' });
  return probe.status === 0 ? undefined : `no mount namespace with overlayfs here: ${probe.stderr.trim()}`;
}

export function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`]).status === 0;
}

/** What in-machine.sh left, by name. */
export type Results = (name: string) => string;

/** Boots it and waits until it has shut itself down. @throws Error with the console when it did not get far */
export async function bootMachine(): Promise<Results> {
  const scratch = mkdtempSync(join(tmpdir(), 'mbox-pop3d-machine-'));
  try {
    const [installed, results] = [join(scratch, 'package'), join(scratch, 'results')];
    mkdirSync(results);
    mkdirSync(installed);
    installInto(installed);
    cpSync(ETC, join(installed, 'etc'), { recursive: true });
    writeFileSync(join(results, 'set-up.sh'), setUpOfReadme());
    copyFileSync(filesOf('ec').cert, join(results, 'cert.pem'));
    copyFileSync(filesOf('ec').key, join(results, 'key.pem'));
    const args = ['--mount', 'bash', join(HERE, 'boot.sh'), scratch, process.execPath];
    const console = await promisify(execFile)('unshare', args, {
      timeout: 400_000,
      maxBuffer: 1 << 24,
    }).then(
      ({ stdout, stderr }) => stdout + stderr,
      // How a container ends says nothing; what was done in it does.
      error => `${error.message}\n${error.stdout}${error.stderr}`,
    );
    const contents = new Map(
      readdirSync(results).map(name => [name, readFileSync(join(results, name), 'utf8')]),
    );
    if (contents.get('end') !== 'done\n') {
      throw new Error(`the machine got no further than "${contents.get('steps')}":\n${console.slice(-4000)}`);
    }
    return name => {
      const content = contents.get(name);
      if (content === undefined) throw new Error(`in-machine.sh made no ${name}`);
      return content;
    };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** The README's lines from nothing to first mail under systemd, less fetching the program and reading mail. */
function setUpOfReadme(): string {
  const readme = readFileSync(join(HERE, '../../README.md'), 'utf8');
  const block = /^### systemd$.*?^```sh\n(.*?)^```$/ms.exec(readme)?.[1];
  if (block === undefined) throw new Error('no set-up for systemd in the README');
  return block.replaceAll(/^(npm|curl) .*\n/gm, '');
}
