/* Questions to a kernel on a comm `carrel.data` (docs/panel.md). */

const TARGET = 'carrel.data';

/** A kernel that answers questions about data, or closes the comm because it cannot. */
export class KernelData {
  constructor(kernel) {
    this.kernel = kernel;
    this._number = 0;
    this._waiting = new Map();
    this._comm = null;
    this._restarted = (_, status) => {
      if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
        this._gone('the kernel was restarted');
      }
    };
    kernel.statusChanged.connect(this._restarted);
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

  get language() {
    return this.kernel.info.then(info => info.language_info.name);
  }

  dispose() {
    this.kernel.statusChanged.disconnect(this._restarted);
    const comm = this._comm;
    this._gone('the notebook was left');
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
          this._gone('unknown');
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
    waiting.forEach(({ reject }) => reject(why === 'unknown' ? new UnknownTarget() : new Error(why)));
  }
}

/** The kernel closed the comm: it knows nothing of datasets. */
export class UnknownTarget extends Error {
  constructor() {
    super('This kernel shows no datasets. In a Python kernel outside of Carrel, run %load_ext carrel first.');
  }
}
