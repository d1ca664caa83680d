/**
 * Long work on the event loop, such as to go through a mailbox, gives others their turn every millisecond; and of all
 * who do such work only a few go on in each turn, so that whoever waits for a reply waits for these, not for all.
 */

/** How long to work before others have a turn, milliseconds. */
export const TURN = 1;

/** Who go on in one turn of the event loop. */
const AT_ONCE = 4;

/** Those whose turn it is not, in order. */
const waiting: (() => void)[] = [];

/** Resolves when everybody else has had a turn. */
export function othersTurn(): Promise<void> {
  return new Promise(resolve => {
    if (waiting.push(resolve) === 1) setImmediate(letSomeGoOn);
  });
}

function letSomeGoOn(): void {
  const some = waiting.splice(0, AT_ONCE);
  if (waiting.length > 0) setImmediate(letSomeGoOn);
  for (const goOn of some) goOn();
}

/** How many have begun in this turn of the event loop. */
let begun = 0;

/**
 * For what takes a third of a millisecond and many may want at once, such as to open a mailbox: a few begin in each turn
 * of the event loop and the others later, in order, or who wants less would wait for all of them.
 * @returns undefined: at once
 */
export function turnToBegin(): Promise<void> | undefined {
  if (begun === 0) setImmediate(endTurn);
  return begun++ < AT_ONCE && waiting.length === 0 ? undefined : othersTurn();
}

function endTurn(): void {
  begun = 0;
}
