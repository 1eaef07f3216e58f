/* Tells a Carrel SQL kernel the notebook's `parameters` right before each cell (docs/panel.md): both go the same way, so the kernel knows them first. */

const TARGET = 'carrel.parameters';

const isCarrel = new WeakMap();
const told = new WeakSet();

/** `metadata` is the notebook's, of which `parameters` is told; a kernel that was never told any is not told that there are none. */
export function tell(kernel, metadata) {
  if (!isCarrel.has(kernel)) {
    // Until the kernel has said what it is, its spec's name must do.
    isCarrel.set(kernel, kernel.name.startsWith('carrel'));
    void kernel.info.then(info => isCarrel.set(kernel, info.implementation === 'carrel'));
  }
  const parameters = metadata.parameters;
  if (isCarrel.get(kernel) && (parameters !== undefined || told.has(kernel))) {
    told.add(kernel);
    // The kernel takes it and closes the comm. It is told each time: somebody else may have restarted it.
    kernel.createComm(TARGET).open({ parameters: parameters ?? {} });
  }
}
