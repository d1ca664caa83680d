/**
 * What a server costs, all of its processes together: CPU time (proc_pid_stat(5)) and memory
 * (proc_pid_smaps(5), proc_pid_status(5)).
 */
import { readFileSync } from 'node:fs';

/** USER_HZ is 100 on Linux. */
const MS_PER_TICK = 10;

/** Milliseconds of user and system time, with those of children that have ended and were waited for. */
export function cpuTime(pid) {
  return cpuTimeOf(tree(pid));
}

/** The same of these processes alone. */
export function cpuTimeOf(pids) {
  let ticks = 0;
  for (const process of pids) {
    const stat = read(process, 'stat');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    for (const field of fields.slice(11, 15)) ticks += Number(field);
  }
  return ticks * MS_PER_TICK;
}

/** KiB; PSS counts what processes share once. @returns {{ rss: number, pss: number, most: number }} */
export function memory(pid) {
  const sum = { rss: 0, pss: 0, most: 0 };
  for (const process of tree(pid)) {
    const rollup = read(process, 'smaps_rollup');
    sum.rss += field(rollup, 'Rss');
    sum.pss += field(rollup, 'Pss');
    sum.most += field(read(process, 'status'), 'VmHWM');
  }
  return sum;
}

/** A process, its children, theirs and so on. */
function tree(pid) {
  const children = read(pid, `task/${pid}/children`).split(' ').filter(Boolean);
  return [pid, ...children.flatMap(child => tree(Number(child)))];
}

/** Empty if the process has ended meanwhile. */
function read(pid, name) {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'latin1');
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ESRCH') return '';
    throw error;
  }
}

function field(text, name) {
  return Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
}
