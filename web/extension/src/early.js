/* A cell that is run while its notebook is getting a kernel waits for that kernel. JupyterLab alone leaves such a cell unrun and says nothing
 * (https://github.com/jupyterlab/jupyterlab/issues/8490): the time from asking for the kernel's session to having it is the gap. */

import { Dialog } from '@jupyterlab/apputils';

/** How long a notebook may neither ask the server for a kernel nor the person which one to take, and how often this is looked at, in milliseconds. */
const PATIENCE = 3000;
const LOOK = 500;

/** What the cells of a notebook wait for, and since when; the notebooks that never asked. */
const arrivals = new WeakMap();
const givenUp = new WeakSet();

/** Calls `run` when the kernel is there, in the order of the calls. A cell that gets none is left as it was: whoever could not start one has said so, or the person wanted none. */
export async function inTime(cell, session, run) {
  if (cell.model.type !== 'code' || !session || !mustWait(session)) {
    return run();
  }
  cell.model.executionState = 'running';
  await arrival(session).over;
  if (cell.isDisposed) {
    return false;
  }
  cell.model.executionState = 'idle';
  return session.session?.kernel ? run() : false;
}

function mustWait(session) {
  const others = arrivals.get(session);
  if (session.hasNoKernel && (givenUp.has(session) || (others && isOver(others.since)))) {
    return false; // JupyterLab asks which kernel to take.
  }
  return others !== undefined || isComing(session);
}

/** Whether a kernel is being started, or will be as soon as it is known which. */
function isComing(session) {
  return !session.isDisposed && session.kernelDisplayStatus === 'initializing';
}

function isOver(since) {
  return performance.now() - since > PATIENCE;
}

/** One for all cells that wait, so that they go on in their order. */
function arrival(session) {
  if (!arrivals.has(session)) {
    const since = performance.now();
    const over = watched(session, since).finally(() => arrivals.delete(session));
    arrivals.set(session, { since, over });
  }
  return arrivals.get(session);
}

async function watched(session, since) {
  while (isComing(session)) {
    if (session.hasNoKernel && isOver(since) && Dialog.tracker.size === 0) {
      givenUp.add(session);
      return;
    }
    await change(session);
  }
  // A cell that found no kernel and started this one itself is first.
  await new Promise(resolve => setTimeout(resolve));
}

/** Until something about the session is different, or it is time to look. */
function change(session) {
  return new Promise(resolve => {
    const signals = [session.sessionChanged, session.kernelChanged, session.statusChanged, session.disposed];
    const timer = setTimeout(done, LOOK);
    function done() {
      clearTimeout(timer);
      signals.forEach(signal => signal.disconnect(done));
      resolve();
    }
    signals.forEach(signal => signal.connect(done));
  });
}
