/* Small makers of elements. Text is always text: nothing that a kernel says becomes markup. */

import { LabIcon } from '@jupyterlab/ui-components';

export function element(tag, attributes, ...children) {
  const node = document.createElement(tag);
  Object.entries(attributes).forEach(([name, value]) => node.setAttribute(name, value));
  node.append(...children);
  return node;
}

export function button(title, text, pressed) {
  const node = element('button', title ? { title, 'aria-label': title } : {}, text);
  node.addEventListener('click', pressed);
  return node;
}

export const icon = new LabIcon({
  name: 'carrel:data',
  svgstr:
    '<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24"><path class="jp-icon3" fill="#616161" d="M12 3C7.6 3 4 4.3 4 6v12c0 1.7 3.6 3 8 3s8-1.3 8-3V6c0-1.7-3.6-3-8-3zm6 15c-.3.4-2.5 1.1-6 1.1S6.3 18.4 6 18v-2.7c1.5.7 3.6 1.1 6 1.1s4.5-.4 6-1.1zm0-5c-.3.4-2.5 1.1-6 1.1S6.3 13.4 6 13v-2.7c1.5.7 3.6 1.1 6 1.1s4.5-.4 6-1.1zm-6-3.9C8.5 9.1 6.3 8.4 6 6.1 6.3 5.6 8.5 5 12 5s5.7.6 6 1.1c-.3 2.3-2.5 3-6 3z"/></svg>'
});
