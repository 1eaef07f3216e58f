/* Questions to a kernel on a comm `carrel.data` (docs/panel.md). */

const TARGET = 'carrel.data';
const AWAY = new Set(['restarting', 'autorestarting', 'dead']);

const UNKNOWN = 'This kernel shows no datasets. In a Python kernel outside of Carrel, run %load_ext carrel first.';

/** A kernel that answers questions about data, or closes the comm because it cannot. */
export class KernelData {
  /** `forgot` is called when the kernel is there again after a restart. */
  constructor(kernel, forgot) {
    this.kernel = kernel;
    this._number = 0;
    this._waiting = new Map();
    this._comm = null;
    let away = false;
    this._statusChanged = (_, status) => {
      if (AWAY.has(status)) {
        away = true;
        this._gone('The kernel is starting …');
      } else if (away && status === 'idle') {
        away = false;
        forgot();
      }
    };
    kernel.statusChanged.connect(this._statusChanged);
  }

  names() {
    return this._ask({ op: 'names' }).then(answer => answer.names);
  }

  columns(name) {
    return this._ask({ op: 'columns', name });
  }

  /** The figures of one column; `stop` of the answer withdraws the question. */
  statistics(name, column) {
    const asked = this._ask({ op: 'statistics', name, column });
    const of = this._number;
    return { answer: asked.then(answer => answer.statistics), stop: () => void this._ask({ op: 'cancel', of }).catch(() => undefined) };
  }

  /** The next question opens a new comm: somebody else may have restarted the kernel, which nobody is told. */
  reconnect() {
    this._gone('Asked again.');
  }

  get language() {
    return this.kernel.info.then(info => info.language_info.name);
  }

  dispose() {
    this.kernel.statusChanged.disconnect(this._statusChanged);
    const comm = this._comm;
    this._gone('The notebook was left.');
    if (comm && !comm.isDisposed && this.kernel.status !== 'dead' && !this.kernel.isDisposed) {
      comm.close();
    }
  }

  _ask(question) {
    const id = ++this._number;
    return new Promise((resolve, reject) => {
      try {
        this._waiting.set(id, { resolve, reject });
        this._open().send({ ...question, id });
      } catch (error) {
        this._waiting.delete(id);
        reject(error);
      }
    });
  }

  _open() {
    if (!this._comm || this._comm.isDisposed) {
      const comm = this.kernel.createComm(TARGET);
      comm.onMsg = message => {
        const { id, error, ...answer } = message.content.data;
        comm.answered = true;
        const waiting = this._waiting.get(id);
        this._waiting.delete(id);
        if (error) {
          waiting?.reject(new Error(error.hint ? `${error.message}; ${error.hint}` : error.message));
        } else {
          waiting?.resolve(answer);
        }
      };
      comm.onClose = () => {
        if (this._comm === comm) {
          this._gone(comm.answered ? 'The kernel began anew: look again.' : UNKNOWN);
        }
      };
      this._comm = comm;
      comm.open({});
    }
    return this._comm;
  }

  _gone(why) {
    this._comm = null;
    const waiting = [...this._waiting.values()];
    this._waiting.clear();
    waiting.forEach(({ reject }) => reject(new Error(why)));
  }
}
