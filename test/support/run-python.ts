/** Runs a Python program to its end, for what only another program can tell. */
import { execFile } from 'node:child_process';

export interface Finished {
  readonly stdout: string;
  readonly stderr: string;
}

/** Rejects when the program fails. */
export function runPython(program: string, ...args: string[]): Promise<Finished> {
  return new Promise((resolve, reject) => {
    execFile('python3', ['-W', 'ignore', '-c', program, ...args], (error, stdout, stderr) => {
      if (error) reject(error);
      else resolve({ stdout, stderr });
    });
  });
}
