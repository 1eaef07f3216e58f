/* The plugins: one puts the panel into the left side bar and points it at the notebook in front, the other runs cells. */

import { ILayoutRestorer } from '@jupyterlab/application';
import { INotebookCellExecutor, INotebookTracker, NotebookActions, runCell } from '@jupyterlab/notebook';

import { inTime } from './early';
import { KernelData } from './kernel';
import { DataPanel } from './panel';
import { insert } from './insert';
import { tell } from './parameters';

const sidePanel = {
  id: '@carrel/data:panel',
  description: 'Datasets, columns and statistics beside a notebook.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [ILayoutRestorer],
  activate(app, notebooks, restorer) {
    const panel = new DataPanel(text => insert(notebooks.currentWidget, text));
    let data = null;
    let session = null;

    const kernelChanged = () => {
      const kernel = session?.session?.kernel ?? null;
      if (data?.kernel !== kernel) {
        data?.dispose();
        data = kernel && new KernelData(kernel, () => panel.refresh());
        panel.follow(data);
      }
    };
    const notebookChanged = () => {
      session?.kernelChanged.disconnect(kernelChanged);
      session = notebooks.currentWidget?.sessionContext ?? null;
      session?.kernelChanged.connect(kernelChanged);
      kernelChanged();
    };
    notebooks.currentChanged.connect(notebookChanged);
    // A cell may have made or dropped a table.
    NotebookActions.executed.connect((_, { notebook }) => {
      if (notebook === notebooks.currentWidget?.content) {
        panel.refresh();
      }
    });

    NotebookActions.executionScheduled.connect((_, { notebook }) => {
      const kernel = notebooks.find(widget => widget.content === notebook)?.sessionContext.session?.kernel;
      if (kernel && notebook.model) {
        tell(kernel, notebook.model.metadata);
      }
    });

    app.shell.add(panel, 'left', { rank: 150 });
    restorer?.add(panel, panel.id);
    notebookChanged();
  }
};

const executor = {
  id: '@carrel/data:cell-executor',
  description: 'Runs cells as JupyterLab does, but lets one that comes before its kernel wait.',
  autoStart: true,
  provides: INotebookCellExecutor,
  activate: () => Object.freeze({ runCell: options => inTime(options.cell, options.sessionContext, () => runCell(options)) })
};

export default [executor, sidePanel];
