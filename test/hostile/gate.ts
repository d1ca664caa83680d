/** A TLS client that stops in the middle of its handshake: it sends so many octets and not one more. */
import { Duplex } from 'node:stream';
import { connect, type SecureVersion } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { Raw } from './raw.js';

/** What is behind the gate: passes what comes in, and of what goes out no more than `open` octets. */
class Gate extends Duplex {
  passed = 0;

  constructor(
    private readonly raw: Raw,
    private readonly open: number,
  ) {
    super();
    raw.socket.on('data', (text: string) => this.push(Buffer.from(text, 'latin1')));
    raw.socket.once('close', () => this.push(null));
  }

  override _read(): void {}

  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    const passing = chunk.subarray(0, Math.max(0, this.open - this.passed));
    this.passed += chunk.length;
    if (passing.length > 0 && !this.raw.socket.destroyed) this.raw.send(passing);
    done();
  }
}

/**
 * Begins a handshake.
 * @param open octets that may leave
 * @returns once all of these have left, or the handshake is over: how many octets that has taken so far
 */
export function handshakeUpTo(raw: Raw, open: number, version: SecureVersion): Promise<number> {
  const gate = new Gate(raw, open);
  const socket = connect({
    socket: gate,
    rejectUnauthorized: false,
    minVersion: version,
    maxVersion: version,
  });
  onTestFinished(() => {
    socket.destroy();
  });
  return new Promise(resolve => {
    const look = () => {
      if (gate.passed >= open) resolve(gate.passed);
    };
    socket.on('error', () => resolve(gate.passed));
    socket.once('secureConnect', () => setImmediate(() => resolve(gate.passed)));
    raw.socket.on('data', () => setImmediate(look));
    raw.socket.once('close', () => resolve(gate.passed));
    setImmediate(look);
  });
}
